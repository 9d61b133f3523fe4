"""The entry of one HTTP request: its circumstances before the view, its outcome after."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from audit.capture import intents
from audit.capture.actors import Actor, Circumstances, user_actor
from audit.capture.bodies import SafeCopy, body_text, copy_body
from audit.capture.calls import accepted_request_id, action_of
from audit.capture.client_ip import client_ip
from audit.capture.policy import Level, Rule
from audit.capture.recording import LONGEST, details_text, entry
from audit.capture.redaction import redact_query
from audit.capture.responses import Outcome
from audit.models import AuditLog, Intent
from compliance_site.foundation.roles import Role, has_role


@dataclass
class RequestCapture:
    """What is gathered about a request while it is served."""

    request: HttpRequest
    rule: Rule
    circumstances: Circumstances
    body: SafeCopy
    started: float
    intent: Intent | None = None

    @classmethod
    def begin(cls, request: HttpRequest, rule: Rule) -> RequestCapture:
        keeps_body = rule.level in (Level.REQUEST, Level.REQUEST_RESPONSE)
        return cls(
            request=request,
            rule=rule,
            circumstances=circumstances_of(request),
            body=copy_body(request, settings.AUDIT_BODY_LIMIT if keeps_body else 0),
            started=time.monotonic(),
        )

    @property
    def response_limit(self) -> int:
        """How many bytes of the answer the policy keeps."""
        if self.rule.level is not Level.REQUEST_RESPONSE:
            return 0
        return min(settings.AUDIT_BODY_LIMIT, LONGEST["response_data"])

    def announce(self) -> None:
        """Commit the request's intent, once; raise `UnrecordedError` when that fails."""
        if self.intent is None:
            self.intent = intents.announce(
                self.circumstances,
                method=self.request.method or "",
                resource=self.request.path,
                route=route_of(self.request),
            )

    def entry(self, actor: Actor, outcome: Outcome) -> AuditLog:
        """Make the entry of a request that came to this outcome."""
        request = self.request
        details = self.circumstances.notes | outcome.details
        if self.intent and intents.is_late(self.intent):
            details["late"] = True
        return entry(
            self.circumstances,
            actor=actor,
            event_id=self.intent.event_id if self.intent else "",
            action=action_of(request.method or ""),
            resource=request.path,
            route=route_of(request),
            query=redact_query(request.META.get("QUERY_STRING", "")),
            method=request.method or "",
            status_code=outcome.status_code,
            duration_ms=round((time.monotonic() - self.started) * 1000),
            request_data=body_text(request, self.body, LONGEST["request_data"]),
            response_data=outcome.data,
            response_bytes=outcome.sent,
            details=details_text(details),
        )


def circumstances_of(request: HttpRequest) -> Circumstances:
    """Return the request's circumstances, the same ones for each call on one request."""
    known: Circumstances | None = request.__dict__.get("_circumstances")
    if known is None:
        known = _new_circumstances(request)
        request.__dict__["_circumstances"] = known
    return known


def _new_circumstances(request: HttpRequest) -> Circumstances:
    request_id = accepted_request_id(request.META.get("HTTP_X_REQUEST_ID", ""))

    def log_fields() -> dict[str, str]:
        fields = {"request_id": request_id}
        user = _user_known_so_far(request)
        return fields | {"actor": user.get_username()} if user else fields

    return Circumstances(
        actor=lambda: request_actor(request),
        request_id=request_id,
        ip_address=client_ip(request),
        user_agent=request.META.get("HTTP_USER_AGENT", ""),
        log_fields=log_fields,
    )


def request_actor(request: HttpRequest) -> Actor:
    """Return who the request turned out to come from; anonymous until a view authenticated."""
    user = getattr(request, "user", None) or AnonymousUser()
    return user_actor(user, is_service=has_role(user, Role.SERVICE))


def route_of(request: HttpRequest) -> str:
    match = request.resolver_match
    return f"/{match.route}" if match else ""


def _user_known_so_far(request: HttpRequest) -> Any:
    """Return the user without asking the database: logging must not cause a query."""
    user = request.__dict__.get("user")
    if isinstance(user, SimpleLazyObject):
        return request.__dict__.get("_cached_user")
    return user

"""The entry of one HTTP request: its circumstances before the view, its outcome after."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.functional import SimpleLazyObject

from audit.capture.actors import Actor, Circumstances, user_actor
from audit.capture.bodies import body_text, copy_body
from audit.capture.body_copy import BodyCopy
from audit.capture.calls import accepted_request_id, action_of
from audit.capture.client_ip import client_ip
from audit.capture.recording import details_text, entry
from audit.capture.redaction import redact_query
from audit.models import AuditLog
from compliance_site.foundation.roles import Role, has_role


@dataclass(frozen=True)
class RequestCapture:
    """What is gathered about a request while it is served."""

    request: HttpRequest
    circumstances: Circumstances
    body: BodyCopy
    started: float

    @classmethod
    def begin(cls, request: HttpRequest, *, body_limit: int) -> RequestCapture:
        return cls(
            request=request,
            circumstances=circumstances_of(request),
            body=copy_body(request, body_limit),
            started=time.monotonic(),
        )

    def entry(self, response: HttpResponseBase) -> AuditLog:
        """Make the entry of the answered request; it may query the user's roles."""
        request = self.request
        return entry(
            self.circumstances,
            actor=self.circumstances.actor(),
            action=action_of(request.method or ""),
            resource=request.path,
            route=route_of(request),
            query=redact_query(request.META.get("QUERY_STRING", "")),
            method=request.method or "",
            status_code=response.status_code,
            duration_ms=round((time.monotonic() - self.started) * 1000),
            request_data=body_text(request, self.body),
            details=details_text(self.circumstances.notes),
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

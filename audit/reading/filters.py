"""The filters of the log: one set, shared by the API, the exports and the admin."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import django_filters
from django import forms
from django.db.models import Q

from audit.models import Action, ActorType, AuditLog, AuditLogQuerySet
from compliance_site.foundation.api.filters import MomentFilter, RepeatedFilter

STATUS_CLASSES = {f"{digit}xx": range(digit * 100, digit * 100 + 100) for digit in range(1, 6)}
LARGEST_ID = 2**63 - 1


def parse_user_id(text: str) -> int:
    value = int(text) if text.isascii() and text.lstrip("-").isdigit() and len(text) < 20 else None
    if value is None or not 0 < value <= LARGEST_ID:
        raise ValueError(f"{text[:40]!r} is not a user id; give a whole number above 0.")
    return value


def parse_action(text: str) -> str:
    """Accept what the console records and what services have named in this log."""
    name = text.upper()
    if name in Action.values:
        return name
    known = sorted({*Action.values, *AuditLog.objects.actions()})
    if name not in known:
        raise ValueError(f"{text[:40]!r} is not an action of this log: {', '.join(known)}.")
    return name


def parse_method(text: str) -> str:
    if not text.isascii() or not text.replace("-", "").isalpha() or len(text) > 20:
        raise ValueError(f"{text[:40]!r} is not an HTTP method.")
    return text.upper()


def parse_status(text: str) -> range:
    if text.lower() in STATUS_CLASSES:
        return STATUS_CLASSES[text.lower()]
    if not (text.isascii() and text.isdigit() and 100 <= int(text[:4]) <= 599):
        raise ValueError(f"{text[:40]!r} is not a status; give a code (404) or a class (4xx).")
    return range(int(text), int(text) + 1)


def parse_address(text: str) -> str:
    return str(ip_address(text))


def parse_actor_type(text: str) -> str:
    if text.lower() not in ActorType.values:
        raise ValueError(f"{text[:40]!r} is not one of {', '.join(ActorType.values)}.")
    return text.lower()


def storable(text: str) -> str:
    """Refuse what PostgreSQL's text cannot hold and so no entry can contain."""
    if "\0" in text:
        raise ValueError("A NUL character is in no entry.")
    return text


class AuditLogFilterForm(forms.Form):
    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        start, end = cleaned.get("startDate"), cleaned.get("endDate")
        if start and end and start >= end:
            self.add_error("startDate", "startDate is not before endDate.")
        return cleaned


class AuditLogFilter(django_filters.FilterSet):  # type: ignore[misc]  # no types
    """Each parameter may be repeated, except the dates and `q`; together they all hold.

    The period is half-open: from startDate up to, not including, endDate. `resource` is
    exact; with a `*` at its end it matches the beginning.
    """

    userId = RepeatedFilter(
        field_name="user_id", parse=parse_user_id, help_text="The user's id in its source."
    )
    action = RepeatedFilter(
        field_name="action", parse=parse_action, help_text="CREATE, READ, UPDATE, DELETE, LOGIN ..."
    )
    resource = RepeatedFilter(
        parse=storable,
        method="match_resource",
        help_text="The path; with a * at its end, what it begins with.",
    )
    method = RepeatedFilter(
        field_name="method", parse=parse_method, help_text="The HTTP method, such as POST."
    )
    statusCode = RepeatedFilter(
        parse=parse_status, method="match_status", help_text="A code (404) or a class (4xx)."
    )
    ip = RepeatedFilter(
        field_name="ip_address", parse=parse_address, help_text="The client's address."
    )
    requestId = RepeatedFilter(
        field_name="request_id", parse=storable, help_text="All entries of one request."
    )
    actorType = RepeatedFilter(
        field_name="actor_type", parse=parse_actor_type, help_text=", ".join(ActorType.values)
    )
    source = RepeatedFilter(
        field_name="source", parse=storable, help_text="`console`, or the service that sent it."
    )
    q = django_filters.CharFilter(
        field_name="resource", lookup_expr="icontains", help_text="A part of the path."
    )
    startDate = MomentFilter(
        field_name="created_at", lookup_expr="gte", help_text="From this moment or day on, in UTC."
    )
    endDate = MomentFilter(
        field_name="created_at",
        lookup_expr="lt",
        is_end=True,
        help_text="Up to this moment, not including it; a day is included.",
    )

    class Meta:
        model = AuditLog
        form = AuditLogFilterForm
        fields: list[str] = []

    def match_resource(
        self, logs: AuditLogQuerySet, name: str, resources: list[str]
    ) -> AuditLogQuerySet:
        matching = Q()
        for resource in resources:
            if resource.endswith("*"):
                matching |= Q(resource__startswith=resource[:-1])
            else:
                matching |= Q(resource=resource)
        return logs.filter(matching)

    def match_status(
        self, logs: AuditLogQuerySet, name: str, ranges: list[range]
    ) -> AuditLogQuerySet:
        matching = Q()
        for codes in ranges:
            matching |= Q(status_code__gte=codes.start, status_code__lt=codes.stop)
        return logs.filter(matching)

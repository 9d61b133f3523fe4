"""Counts of the log by action, by user and by endpoint."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Case, Count, F, When

from audit.models import AuditLogQuerySet

TOP_ENDPOINTS = 10


@dataclass(frozen=True)
class Statistics:
    """Exact counts; an entry without a user counts in the total and not in `by_user`."""

    total: int
    by_action: dict[str, int]
    by_user: dict[int, int]
    top_endpoints: dict[str, int]


def statistics(logs: AuditLogQuerySet) -> Statistics:
    """Count the entries; `top_endpoints` has at most ten, the most frequent first."""
    by_action: dict[str, int] = _counts(logs, "action")
    # By route where it is known: by raw path, /orders/1 and /orders/2 would be two endpoints.
    endpoints = logs.exclude(method="").annotate(
        endpoint=Case(When(route="", then=F("resource")), default=F("route"))
    )
    return Statistics(
        total=sum(by_action.values()),
        by_action=by_action,
        by_user=_counts(logs.filter(user_id__isnull=False), "user_id"),
        top_endpoints=_counts(endpoints, "endpoint", most=TOP_ENDPOINTS),
    )


def _counts[Key](logs: AuditLogQuerySet, field: str, most: int | None = None) -> dict[Key, int]:
    rows = logs.order_by().values_list(field).annotate(count=Count("id")).order_by("-count", field)
    return dict(rows[:most])

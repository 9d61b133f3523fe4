"""Tell whether a redacted value occurred: its tags are searched for, the value is never stored.

Whoever may ask could try out short values one by one; so each look-up is an entry, and the
entries of the last hour are what limits the next one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db import OperationalError, connection, transaction
from django.db.models import Q
from django.utils import timezone

from audit.capture import redaction
from audit.capture.actors import current
from audit.capture.recording import record
from audit.exceptions import LookupLimitError, LookupTimeoutError
from audit.models import Action, AuditLog

LOOKUPS_PER_HOUR = 60
HOUR = timedelta(hours=1)
DEFAULT_PERIOD = timedelta(days=90)
EARLIEST = datetime.min.replace(tzinfo=UTC)
MOST_OCCURRENCES = 1_000
MOST_ENTRIES = 20
SEARCH_MILLISECONDS = 10_000
QUERY_CANCELED = "57014"
# Everywhere that a tag can stand.
SEARCHED = (
    *("request_data", "response_data", "details", "query", "resource", "user_agent"),
    *("actor", "request_id", "event_id", "route"),
)


@dataclass(frozen=True)
class Occurrences:
    """`count` stops at `MOST_OCCURRENCES`; `entries` are the newest ids."""

    tags: list[str]
    start: datetime
    end: datetime
    count: int
    entries: list[int]

    @property
    def is_complete(self) -> bool:
        return self.count < MOST_OCCURRENCES


def look_up(
    value: str, *, start: datetime | None = None, end: datetime | None = None
) -> Occurrences:
    """Search the entries from start to end (default: the last 90 days) and record that.

    Raise `LookupLimitError` after 60 look-ups of this user within an hour, and
    `LookupTimeoutError` when the period is too long to search; the latter counts as well.
    """
    end = end or timezone.now()
    # Nothing is earlier than the year 1.
    start = start or end - min(DEFAULT_PERIOD, end - EARLIEST)
    tags = redaction.installed().tags_of(value)
    with transaction.atomic():
        _refuse_beyond_limit()
        ids = _search(tags, start, end)
        details = {"tags": tags, "startDate": start, "endDate": end}
        outcome = {"occurrences": len(ids)} if ids is not None else {"timedOut": True}
        record(Action.LOOKUP, resource="redaction", details=details | outcome)
    if ids is None:
        raise LookupTimeoutError(LookupTimeoutError.__doc__)
    return Occurrences(tags, start, end, len(ids), ids[:MOST_ENTRIES])


def _refuse_beyond_limit() -> None:
    """Count this user's look-ups; those of one user wait here for each other."""
    user_id, now = current().actor().user_id, timezone.now()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext('audit lookup'), %s)", [user_id])
    recent = AuditLog.objects.filter(
        action=Action.LOOKUP, source="console", user_id=user_id, created_at__gt=now - HOUR
    ).values_list("created_at", flat=True)
    moments = list(recent[:LOOKUPS_PER_HOUR])
    if len(moments) >= LOOKUPS_PER_HOUR:
        raise LookupLimitError((moments[-1] + HOUR - now).total_seconds())


def _search(tags: list[str], start: datetime, end: datetime) -> list[int] | None:
    """Return the newest ids, None when that takes too long."""
    contains = Q()
    for field in SEARCHED:
        for tag in tags:
            contains |= Q(**{f"{field}__contains": tag})
    # Not the entries of look-ups, which hold the tags that were asked for.
    logs = AuditLog.objects.filter(contains, created_at__gte=start, created_at__lt=end).exclude(
        action=Action.LOOKUP
    )
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL statement_timeout = {SEARCH_MILLISECONDS}")
            return list(logs.values_list("id", flat=True)[:MOST_OCCURRENCES])
    except OperationalError as exc:
        if getattr(exc.__cause__, "sqlstate", "") != QUERY_CANCELED:
            raise
        return None

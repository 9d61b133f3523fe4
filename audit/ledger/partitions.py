"""Monthly partitions of the log, made ahead and, if need be, at the moment they are needed.

The runtime role cannot create tables. It calls `audit_make_partition(date)`, a function of
the owner that makes exactly one kind of table.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime

from django.db import connection
from django.utils import timezone

MONTHS_AHEAD = 12

# Months whose partition this process has seen committed.
_seen: set[date] = set()


def ensure(moments: Iterable[datetime]) -> None:
    """Make sure that entries of these moments have partitions; a set lookup once they have."""
    for month in {month_of(moment) for moment in moments} - _seen:
        _make(month)


def month_of(moment: datetime) -> date:
    return moment.astimezone(UTC).date().replace(day=1)


def make_ahead(now: datetime | None = None, months: int = MONTHS_AHEAD) -> int:
    """Make the partitions of this month and the next ones; return how many were missing."""
    first = month_of(now or timezone.now())
    return sum(_make(_month_after(first, ahead)) for ahead in range(months + 1))


def _make(month: date) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT audit_make_partition(%s)", [month])
        (made,) = cursor.fetchone()
    # Inside a transaction the new table may still be rolled back.
    if not connection.in_atomic_block:
        _seen.add(month)
    return bool(made)


def _month_after(month: date, count: int) -> date:
    years, index = divmod(month.month - 1 + count, 12)
    return date(month.year + years, index + 1, 1)

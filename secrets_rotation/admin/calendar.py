"""The calendar: what was rotated and what rotates when, a month at a time."""

from __future__ import annotations

import re
from calendar import Calendar
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, date, timedelta
from enum import Enum

from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_safe

from compliance_site.foundation.admin_pages import for_readers
from secrets_rotation.admin.pages import page
from secrets_rotation.forecast import forecast
from secrets_rotation.models import Rotation, Secret
from secrets_rotation.reading import Scheduled, schedule

MONTH = re.compile(r"(20\d\d)-(0[1-9]|1[0-2])")
# Further ahead, nothing is as it is foreseen today.
MONTHS_AHEAD = 24


class Kind(Enum):
    """What happens on a day: its sign, its word, and what it means."""

    ROTATED = ("✓", "done", "was rotated")
    AUTOMATIC = ("↻", "auto", "the console rotates it")
    MANUAL = ("✎", "by hand", "somebody has to rotate it")

    def __init__(self, sign: str, word: str, meaning: str) -> None:
        self.sign = sign
        self.word = word
        self.meaning = meaning


@dataclass(frozen=True)
class Item:
    secret: Secret
    kind: Kind


@dataclass(frozen=True)
class Day:
    """A day of the table; those of the months around it stay empty."""

    day: date
    is_in_month: bool
    is_today: bool
    items: tuple[Item, ...]


@for_readers
@require_safe
def month(request: HttpRequest) -> HttpResponse:
    """Show a month, `?month=2026-11`; any other text shows the month of today."""
    today = timezone.now().astimezone(UTC).date()
    first = _asked(request.GET.get("month", ""), today)
    is_now = first == today.replace(day=1)
    items = _items(first, today)
    overdue = _overdue() if is_now else []
    return page(
        request,
        "calendar.html",
        f"Calendar, {first:%B %Y}",
        first=first,
        weeks=_weeks(first, today, items),
        overdue=overdue,
        planned=sum(item.kind is not Kind.ROTATED for each in items.values() for item in each),
        done=sum(item.kind is Kind.ROTATED for each in items.values() for item in each),
        kinds=list(Kind),
        earlier=first - timedelta(days=1),
        later=next_month(first) if first < _last_month(today) else None,
        is_now=is_now,
    )


def next_month(first: date) -> date:
    return (first + timedelta(days=31)).replace(day=1)


def _asked(text: str, today: date) -> date:
    """Return the first day of the month that was asked for, none too far ahead."""
    match = MONTH.fullmatch(text)
    if match is None:
        return today.replace(day=1)
    return min(date(int(match[1]), int(match[2]), 1), _last_month(today))


def _last_month(today: date) -> date:
    months = today.year * 12 + today.month - 1 + MONTHS_AHEAD
    return date(months // 12, months % 12 + 1, 1)


def _items(first: date, today: date) -> dict[date, list[Item]]:
    """Return what happened and what is foreseen, by day; what is overdue is on no day."""
    last = next_month(first) - timedelta(days=1)
    items: dict[date, list[Item]] = defaultdict(list)
    rotations = Rotation.objects.filter(rotated_at__date__range=(first, last))
    for rotation in rotations.select_related("secret").order_by("rotated_at"):
        items[rotation.rotated_at.date()].append(Item(rotation.secret, Kind.ROTATED))
    for planned in forecast(max(first, today + timedelta(days=1)), last):
        kind = Kind.AUTOMATIC if planned.is_automatic else Kind.MANUAL
        items[planned.day].append(Item(planned.secret, kind))
    return items


def _overdue() -> list[tuple[Scheduled, Kind]]:
    now = timezone.now()
    rows = schedule(Secret.objects.living(), now)
    return [
        (row, Kind.AUTOMATIC if row.is_automatic else Kind.MANUAL)
        for row in rows
        if row.due_at <= now
    ]


def _weeks(first: date, today: date, items: dict[date, list[Item]]) -> list[list[Day]]:
    weeks = Calendar().monthdatescalendar(first.year, first.month)
    return [
        [
            Day(day, day.month == first.month, day == today, tuple(items.get(day, ())))
            for day in week
        ]
        for week in weeks
    ]

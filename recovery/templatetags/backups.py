"""Sizes, spans and places as the pages of backups show them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django import template
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from recovery.backups.overview import Card, Day, DayKind
from recovery.backups.progress import size_text, time_text
from recovery.backups.standing import age_text
from recovery.models import Backup

register = template.Library()


@dataclass(frozen=True)
class Bar:
    """A piece of a day's column, in units of a strip that is 24 high."""

    kind: str
    y: int
    height: int


# Each kind has a shape of its own, for those who do not see its colour: a whole column, half of
# one, two crumbs, a stump, a broken one, a line.
SHAPES: dict[DayKind, tuple[Bar, ...]] = {
    DayKind.VERIFIED: (Bar("verified", 0, 24),),
    DayKind.STORED: (Bar("stored", 12, 12),),
    DayKind.MISSING: (Bar("missing", 6, 4), Bar("missing", 18, 6)),
    DayKind.REMOVED: (Bar("removed-since", 18, 6),),
    DayKind.FAILED: (Bar("failed", 0, 10), Bar("failed", 14, 10)),
    DayKind.NONE: (Bar("none", 22, 2),),
}
# A block that floats above what the day has besides.
FAILED_TOO = Bar("failed", 0, 6)
BELOW = 9


@register.inclusion_tag("admin/recovery/backup_strip.html")
def days_strip(card: Card) -> dict[str, Any]:
    """Draw a database's last month, a column for each day."""
    return {"title": card.days_in_words, "days": [(day, columns(day)) for day in card.days]}


@register.inclusion_tag("admin/recovery/backup_key.html")
def days_key() -> dict[str, Any]:
    """Say what the columns mean."""
    also = (FAILED_TOO, *_lowered(SHAPES[DayKind.VERIFIED]))
    return {
        "shapes": [*((str(kind), bars) for kind, bars in SHAPES.items()), ("also failed", also)]
    }


def columns(day: Day) -> tuple[Bar, ...]:
    bars = SHAPES[day.kind]
    return (FAILED_TOO, *_lowered(bars)) if day.has_failed_too else bars


def _lowered(bars: Sequence[Bar]) -> list[Bar]:
    """Keep what is below a block at the top."""
    return [
        Bar(bar.kind, max(bar.y, BELOW), bar.y + bar.height - max(bar.y, BELOW)) for bar in bars
    ]


@register.filter
def size(count: int | None) -> str:
    return "\N{EN DASH}" if count is None else size_text(count)


@register.filter
def commands(sentence: str) -> SafeString:
    """Return a sentence in which what stands in backticks is code."""
    parts = sentence.split("`")
    return format_html_join(
        "",
        "{}",
        (
            (format_html("<code>{}</code>", part) if place % 2 else part,)
            for place, part in enumerate(parts)
        ),
    )


@register.filter
def until(start: datetime | None, end: datetime | None) -> str:
    """Return how long something took, a dash while it has no end."""
    if start is None or end is None:
        return "\N{EN DASH}"
    passed = (end - start).total_seconds()
    return "< 1 s" if passed < 1 else time_text(passed)


@register.filter
def duration(number: float) -> str:
    return time_text(number)


@register.filter
def seconds(number: float) -> str:
    if number < 0.1:
        return f"{number * 1000:.0f} ms"
    return f"{number:.1f} s" if number < 10 else time_text(number)


@register.filter
def age(moment: datetime, now: datetime) -> str:
    """Return the age in the words of warnings: `27 hours`, `2 days`."""
    return age_text(now - moment)


@register.filter
def kept_in(backup: Backup) -> str:
    """Return in how many places a backup is, or the name of the only one; "" where it is nowhere."""
    places = list(backup.copies)
    if len(places) == len(missing_in(backup)):
        return ""
    if len(places) == 1:
        return str(places[0])
    there = len(places) - len(missing_in(backup))
    return f"{len(places)} places" if there == len(places) else f"{there} of {len(places)} places"


@register.filter
def missing_in(backup: Backup) -> list[str]:
    """Return the places that should have it and have not."""
    return [place for place, reason in backup.copies.items() if reason]


@register.filter
def shares(steps: Sequence[Mapping[str, Any]]) -> list[tuple[str, float, int]]:
    """Return each step of a verification with its seconds and its percentage of them all."""
    total = sum(step["seconds"] for step in steps) or 1.0
    return [(step["step"], step["seconds"], round(100 * step["seconds"] / total)) for step in steps]

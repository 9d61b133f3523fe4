"""Components of rotation's pages: bars of days, chips of states, spans of time in words."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django import template
from django.utils import timezone

from secrets_rotation.admin.rules_form import number_and_unit
from secrets_rotation.models import BreakGlassState, RunState, VersionState
from secrets_rotation.reading import Scheduled, Status

register = template.Library()

# People are told 7 days before; from then on the bar warns.
SOON_DAYS = 7
TONES: dict[str, str] = {
    Status.ACTIVE: "good",
    Status.OVERDUE: "bad",
    Status.ATTENTION: "bad",
    RunState.REVOKED: "good",
    RunState.ROLLING_BACK: "warn",
    RunState.ROLLED_BACK: "warn",
    VersionState.CURRENT: "good",
    VersionState.PREVIOUS: "warn",
    BreakGlassState.REQUESTED: "warn",
    BreakGlassState.DONE: "good",
}
# What a state means, for those who do not know the machine.
MEANINGS: dict[str, str] = {
    RunState.PENDING: "the new value is sealed, the target untouched",
    RunState.SETTING: "the target is being changed",
    RunState.SET: "set, to be verified",
    RunState.VERIFIED: "the new value works",
    RunState.DISTRIBUTING: "the new value is current and on its way to its consumers",
    RunState.GRACE: "old and new value both work",
    RunState.REVOKING: "the old value is being ended",
    RunState.REVOKED: "done, the old value is ended",
    RunState.ROLLING_BACK: "the new value is being taken back",
    RunState.ROLLED_BACK: "ended, the current value stays as it was",
    RunState.ATTENTION: "a person must decide",
    VersionState.PENDING: "about to become current",
    VersionState.CURRENT: "in use",
    VersionState.PREVIOUS: "superseded, still accepted",
    VersionState.REVOKED: "ended",
    VersionState.DISCARDED: "never became current",
    BreakGlassState.REQUESTED: "another security officer has to approve it",
    BreakGlassState.REJECTED: "nothing was rotated",
    BreakGlassState.ROTATING: "approved, the rotations are under way",
    BreakGlassState.DONE: "every rotation has ended or needs a person",
}


@register.inclusion_tag("admin/secrets_rotation/_days_left.html")
def days_left(row: Scheduled) -> dict[str, Any]:
    """Draw how much of the interval is left, with the number of days beside it."""
    began = row.secret.last_rotated_at or row.secret.created_at
    interval = max(timedelta(days=1), row.due_at - began)
    left = row.due_at - timezone.now()
    share = round(100 * min(1.0, max(0.0, left / interval)))
    tone = "bad" if row.days_left < 0 else "warn" if row.days_left < SOON_DAYS else "good"
    # An overdue secret has nothing left, and its bar is full of that.
    return {"share": 100 if tone == "bad" else max(2, share), "tone": tone, "days": row.days_left}


@register.inclusion_tag("admin/secrets_rotation/_chip.html")
def state(value: str) -> dict[str, str]:
    """Show a state as a word on its colour, its meaning as a title."""
    return {"word": value, "tone": TONES.get(value, ""), "meaning": MEANINGS.get(value, "")}


@register.inclusion_tag("admin/secrets_rotation/_field.html")
def row(field: Any) -> dict[str, Any]:
    """Show a form's field with its label, help and errors."""
    return {"field": field}


@register.filter
def span(duration: timedelta) -> str:
    """Return a duration in its largest whole unit: `7 days`, `1 hour`, `none`."""
    number, unit = number_and_unit(duration)
    if not number:
        return "none"
    return f"{number:,} {unit if number != 1 else unit.removesuffix('s')}"


@register.filter
def in_time(moment: datetime) -> str:
    """Return how far off a moment is: `in 3 days`, `2 hours ago`, `now`."""
    seconds = (moment - timezone.now()).total_seconds()
    distance = _largest(abs(seconds))
    if not distance:
        return "now"
    return f"in {distance}" if seconds > 0 else f"{distance} ago"


@register.filter
def meaning(value: str) -> str:
    return MEANINGS.get(value, "")


def _largest(seconds: float) -> str:
    for size, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second")):
        if seconds >= size:
            number = int(seconds // size)
            return f"{number:,} {unit}{'' if number == 1 else 's'}"
    return ""

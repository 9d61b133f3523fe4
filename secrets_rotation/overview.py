"""How all secrets stand, in a few figures and one sentence."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from secrets_rotation.models import Run, RunState, Secret
from secrets_rotation.reading import Scheduled, Status, schedule

WORDS = [
    "no",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
]


@dataclass(frozen=True)
class Overview:
    """Figures of the living secrets; `next` is the one that is due soonest and not overdue."""

    total: int
    overdue: int
    attention: int
    rotating: int
    in_grace: int
    next: Scheduled | None

    @property
    def headline(self) -> str:
        """Say what needs somebody, or that nothing does."""
        if not self.total:
            return "No secret is registered yet"
        facts = (
            (self.overdue, "is overdue", "are overdue"),
            (self.attention, "needs a decision", "need a decision"),
        )
        clauses = [(number, one if number == 1 else many) for number, one, many in facts if number]
        if not clauses:
            return _fine(self.total)
        (number, verb), *others = clauses
        subject = f"{in_words(number).capitalize()} secret{'s' if number > 1 else ''}"
        rest = [f"{in_words(number)} {verb}" for number, verb in others]
        return ", ".join([f"{subject} {verb}", *rest])


def overview(now: datetime | None = None) -> Overview:
    """Count the living secrets by how they stand with their schedule."""
    scheduled = schedule(Secret.objects.living(), now)
    statuses = [each.status for each in scheduled]
    coming = (each for each in scheduled if each.days_left >= 0)
    return Overview(
        total=len(scheduled),
        overdue=statuses.count(Status.OVERDUE),
        attention=statuses.count(Status.ATTENTION),
        rotating=statuses.count(Status.ROTATING),
        in_grace=Run.objects.filter(state__in=(RunState.GRACE, RunState.REVOKING)).count(),
        next=next(coming, None),
    )


def in_words(number: int) -> str:
    """Spell small numbers out, as text does."""
    return WORDS[number] if number < len(WORDS) else f"{number:,}"


def _fine(total: int) -> str:
    if total == 1:
        return "The one secret is on schedule"
    return f"All {in_words(total)} secrets are on schedule"

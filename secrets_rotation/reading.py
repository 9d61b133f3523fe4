"""What people see of rotation: when each secret is due, and what was rotated."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from django.db.models import OuterRef, QuerySet, Subquery
from django.utils import timezone

from secrets_rotation.models import (
    IN_FLIGHT,
    Rotation,
    Run,
    RunState,
    Secret,
    VersionState,
)
from secrets_rotation.models.runs import BEFORE_PROMOTION
from secrets_rotation.rotators.registry import generating


class Status(StrEnum):
    """How a secret stands with its schedule; the first that applies."""

    RETIRED = "RETIRED"
    # A run needs a person.
    ATTENTION = "ATTENTION"
    # A run is under way that has not made its value current yet.
    ROTATING = "ROTATING"
    OVERDUE = "OVERDUE"
    ACTIVE = "ACTIVE"


@dataclass(frozen=True)
class Scheduled:
    """A secret and its next rotation; `days_left` is rounded down, negative when overdue.

    It is automatic when its policy says so and the console can make the value.
    """

    secret: Secret
    due_at: datetime
    days_left: int
    status: Status
    is_automatic: bool


def schedule(secrets: QuerySet[Secret], now: datetime | None = None) -> list[Scheduled]:
    """Return the secrets with their next rotation, the soonest first."""
    now = now or timezone.now()
    state = Run.objects.filter(secret=OuterRef("pk"), state__in=IN_FLIGHT).values("state")[:1]
    rows = (
        Secret.objects.filter(pk__in=secrets.values("pk"))
        .with_due()
        .automatic()
        .annotate(run_state=Subquery(state))
        .select_related("policy")
        .order_by("due_at", "pk")  # type: ignore[misc]  # annotated
    )
    by_schedule = set(generating())
    return [_scheduled(row, now, can_be=row.rotator in by_schedule) for row in rows]


def _scheduled(row: Secret, now: datetime, *, can_be: bool) -> Scheduled:
    due_at: datetime = row.due_at  # type: ignore[attr-defined]  # annotated
    return Scheduled(
        secret=row,
        due_at=due_at,
        days_left=(due_at - now) // timedelta(days=1),
        status=_status(row, due_at, now),
        is_automatic=can_be and row.is_automatic,  # type: ignore[attr-defined]  # annotated
    )


def _status(row: Secret, due_at: datetime, now: datetime) -> Status:
    state = row.run_state  # type: ignore[attr-defined]  # annotated
    if row.retired_at is not None:
        return Status.RETIRED
    if state == RunState.ATTENTION:
        return Status.ATTENTION
    if state in BEFORE_PROMOTION or state == RunState.ROLLING_BACK:
        return Status.ROTATING
    return Status.OVERDUE if due_at <= now else Status.ACTIVE


class HistoryStatus(StrEnum):
    """What became of a rotated value, in the user guide's words."""

    ROTATED = "ROTATED"
    # Superseded and inside its grace.
    DEPRECATED = "DEPRECATED"
    REVOKED = "REVOKED"


STATUS_OF = {
    VersionState.CURRENT: HistoryStatus.ROTATED,
    VersionState.PREVIOUS: HistoryStatus.DEPRECATED,
}


def history_status(rotation: Rotation) -> HistoryStatus:
    """Return the status of a rotation, read with its version."""
    return STATUS_OF.get(VersionState(rotation.version.state), HistoryStatus.REVOKED)


def next_rotation(secret: Secret) -> datetime:
    """Return when the secret is due next."""
    annotated = Secret.objects.with_due().get(pk=secret.pk)
    due_at: datetime = annotated.due_at  # type: ignore[attr-defined]  # annotated
    return due_at

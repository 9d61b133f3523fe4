"""What the minute's tick does: begin what is due, wake what waits.

One due query with `SKIP LOCKED`, so that any number of ticks at once begin each rotation
once. After an outage the oldest come first, and no more at a time than the workers can take.
"""

from __future__ import annotations

import logging
from datetime import timedelta

from django.conf import settings
from django.db.models import (
    DateTimeField,
    DurationField,
    Exists,
    ExpressionWrapper,
    F,
    Func,
    OuterRef,
    Q,
    TimeField,
)
from django.db.models.functions import Coalesce, Now

from compliance_site.foundation.master_key import EnvelopeError
from secrets_rotation.exceptions import RotationError
from secrets_rotation.models import IN_FLIGHT, Run, RunState, Secret
from secrets_rotation.models.secrets import SecretQuerySet
from secrets_rotation.rotators.registry import generating
from secrets_rotation.runs.start import start_due

logger = logging.getLogger(__name__)

# A run keeps workers and targets busy but where it only waits: for its deliveries (however long a
# consumer is away), for the end of a grace, for a person.
WAITS = (RunState.DISTRIBUTING, RunState.GRACE, RunState.ATTENTION)
BUSY = tuple(state for state in IN_FLIGHT if state not in WAITS)
# Secrets of one type come due at the same midnight; each begins at an offset of its own.
SPREAD_SECONDS = 1_800
# A scheduled rotation that was taken back is not begun anew each minute.
AFTER_FAILURE = timedelta(hours=6)


class Offset(Func):
    """The secret's own part of the spread, the same at each look."""

    template = f"make_interval(secs => mod(%(expressions)s * 7919, {SPREAD_SECONDS}))"
    output_field = DurationField()


class Clock(Func):
    """The database's time of day, UTC."""

    template = "(now() AT TIME ZONE 'UTC')::time"
    output_field = TimeField()


# The same time twice is the whole day; a window may go over midnight.
IN_WINDOW = (
    Q(opens=F("closes"))
    | Q(opens__lt=F("closes"), clock__gte=F("opens"), clock__lt=F("closes"))
    | Q(Q(clock__gte=F("opens")) | Q(clock__lt=F("closes")), opens__gt=F("closes"))
)


def due() -> SecretQuerySet:
    """Return the secrets to rotate now, the longest overdue first."""
    failed = Run.objects.filter(
        secret=OuterRef("pk"), state=RunState.ROLLED_BACK, ended_at__gt=Now() - AFTER_FAILURE
    )
    in_flight = Run.objects.filter(secret=OuterRef("pk"), state__in=IN_FLIGHT)
    return (
        Secret.objects.living()
        .with_due()
        .automatic()
        .alias(
            begins_at=ExpressionWrapper(F("due_at") + Offset("pk"), DateTimeField()),  # type: ignore[misc]  # annotated
            opens=Coalesce("override__window_start", "policy__window_start"),
            closes=Coalesce("override__window_end", "policy__window_end"),
            clock=Clock(),
        )
        .filter(is_automatic=True, begins_at__lte=Now(), rotator__in=generating())
        .filter(IN_WINDOW, ~Exists(in_flight), ~Exists(failed))
        .order_by("due_at", "pk")
    )


def begin_due() -> list[Run]:
    """Begin as many due rotations as there is room for; return them, to be carried on."""
    room = settings.ROTATIONS_AT_ONCE - Run.objects.filter(state__in=BUSY).count()
    secrets = list(due().values_list("pk", flat=True)[: max(room, 0)])
    runs = (_begun(secret_id) for secret_id in secrets)
    return [run for run in runs if run is not None]


def _begun(secret_id: int) -> Run | None:
    """Begin one rotation; what is wrong with one secret must not hold the others up."""
    try:
        return start_due(secret_id, due())
    except (RotationError, EnvelopeError) as exc:
        logger.error("Secret %s is due and cannot be rotated: %s", secret_id, exc)
        return None


def sleepers() -> list[int]:
    """Return the runs that may go on: their wait is over, or their process died."""
    free = Q(leased_until=None) | Q(leased_until__lt=Now())
    runs = Run.objects.filter(free, state__in=IN_FLIGHT, next_attempt_at__lte=Now())
    runs = runs.exclude(state=RunState.ATTENTION)
    return list(runs.order_by("next_attempt_at").values_list("pk", flat=True))

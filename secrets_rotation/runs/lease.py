"""Who works on a run: one process at a time, for a while, under a number that never repeats.

The number (the fence) is part of every write. A process that was paused past its lease finds
another number there and does nothing more: neither to the run nor, as far as the target can
be told to give up in time, to the target. An advisory lock alone would vanish with its
connection while the process works on.
"""

from __future__ import annotations

import os
import socket
import time
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import F, Q
from django.db.models.functions import Now

from audit.capture.actors import Actor, current
from audit.capture.recording import record
from audit.models import Action
from secrets_rotation.exceptions import LeaseLostError
from secrets_rotation.models import IN_FLIGHT, PrincipalLock, Run, RunState, Step

SECONDS = 60.0
LENGTH = timedelta(seconds=SECONDS)
LONGEST_TEXT = 500
# In any other state nothing is changed at the target, and others may work on the principal.
AT_THE_TARGET = (
    RunState.SETTING,
    RunState.SET,
    RunState.VERIFIED,
    RunState.REVOKING,
    RunState.ROLLING_BACK,
)


class Lease:
    """A run's lease, held by this process; every write renews it."""

    def __init__(self, run_id: int, fence: int, since: float) -> None:
        self.run_id = run_id
        self.fence = fence
        # By a clock that goes on while the process is paused, taken before the database's.
        self._ends = since + SECONDS

    @classmethod
    def take(cls, run_id: int) -> Lease | None:
        """Return the lease of a run in flight; None when another process holds it or it ended."""
        since = time.monotonic()
        holder = f"{socket.gethostname()} {os.getpid()}"
        with transaction.atomic():
            taken = (
                Run.objects.filter(pk=run_id, state__in=IN_FLIGHT)
                .filter(Q(leased_until=None) | Q(leased_until__lt=Now()))
                .update(fence=F("fence") + 1, leased_until=Now() + LENGTH, leased_by=holder)
            )
            if not taken:
                return None
            fence = Run.objects.values_list("fence", flat=True).get(pk=run_id)
        return cls(run_id, fence, since)

    def seconds_left(self) -> float:
        return max(0.0, self._ends - time.monotonic())

    def confirm(self) -> None:
        """Raise `LeaseLostError` unless the lease is still held."""
        is_held = self.seconds_left() > 0 and self._mine().filter(leased_until__gt=Now()).exists()
        if not is_held:
            raise LeaseLostError(LeaseLostError.__doc__)

    def write(self, **fields: Any) -> None:
        """Change the run and renew the lease, or raise `LeaseLostError` and change nothing."""
        since = time.monotonic()
        if not self._mine().update(leased_until=Now() + LENGTH, **fields):
            raise LeaseLostError(LeaseLostError.__doc__)
        self._ends = since + SECONDS

    @transaction.atomic
    def move(
        self,
        state: RunState,
        text: str,
        *,
        is_trouble: bool = False,
        actor: Actor | None = None,
        **fields: Any,
    ) -> None:
        """Bring the run to a state, with the step and the audit event that tell of it."""
        self.write(state=state, **fields)
        if state in AT_THE_TARGET:
            # Never shorter than the lease that a rotator is told of.
            self._principal().update(leased_until=Now() + LENGTH)
        else:
            self.release_principal()
        actor = actor or current().actor()
        tell(self.run_id, state, text, actor, is_trouble=is_trouble)

    def release(self) -> None:
        """Give the lease and the principal up; whoever lost them has nothing to give."""
        self._mine().update(leased_until=None, leased_by="")
        self.release_principal()

    def take_principal(self, principal: str) -> bool:
        """Lock what is changed at the target; False while another run is at work on it."""
        lock = {"run_id": self.run_id, "fence": self.fence, "leased_until": Now() + LENGTH}
        PrincipalLock.objects.bulk_create(
            [PrincipalLock(principal=principal, **lock)], ignore_conflicts=True
        )
        return bool(
            PrincipalLock.objects.filter(principal=principal)
            .filter(Q(run_id=self.run_id) | Q(leased_until__lt=Now()))
            .update(**lock)
        )

    def release_principal(self) -> None:
        self._principal().delete()

    def _principal(self) -> Any:
        return PrincipalLock.objects.filter(run_id=self.run_id, fence=self.fence)

    def _mine(self) -> Any:
        return Run.objects.filter(pk=self.run_id, fence=self.fence)


def tell(
    run_id: int, state: RunState, text: str, actor: Actor, *, is_trouble: bool = False
) -> None:
    """Add a step to the run's history and to the audit log."""
    text = text[:LONGEST_TEXT]
    Step.objects.create(
        run_id=run_id,
        state=state,
        text=text,
        is_trouble=is_trouble,
        actor_type=actor.type,
        actor=actor.name,
    )
    details = {"run": run_id, "state": state.value, "step": text}
    record(Action.ROTATE, resource=f"/secrets/rotation/runs/{run_id}", details=details, actor=actor)

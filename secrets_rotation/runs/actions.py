"""What a person may decide about a run: resume, roll back, adopt, end the grace."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import transaction
from django.db.models.functions import Now

from compliance_site.foundation.secret_text import SecretText
from secrets_rotation.exceptions import RunBusyError, RunStateError
from secrets_rotation.models import Run, RunState, Version, VersionValue
from secrets_rotation.models.runs import BEFORE_PROMOTION
from secrets_rotation.policies.strength import fingerprint
from secrets_rotation.runs.lease import Lease


def resume(run: Run) -> None:
    """Go on where the run stopped, with fresh attempts; raise `RunStateError`, `RunBusyError`."""
    with _held(run) as (lease, run):
        _require(run, "resumed", run.state == RunState.ATTENTION)
        _go_on(lease, RunState(run.halted_in), "Resumed.")


def roll_back(run: Run) -> None:
    """Take the new value back; only before it became current."""
    with _held(run) as (lease, run):
        state = run.halted_in if run.state == RunState.ATTENTION else run.state
        may = state in (*BEFORE_PROMOTION, RunState.ROLLING_BACK)
        _require(run, "rolled back", may)
        _go_on(lease, RunState.ROLLING_BACK, "To be rolled back.")


def adopt(run: Run, value: SecretText | None = None) -> None:
    """Take what the target accepts for the new value: this one, or the pending one as it is.

    It is verified like any other before it becomes current.
    """
    with _held(run) as (lease, run), transaction.atomic():
        _require(
            run, "adopted", run.state == RunState.ATTENTION and run.halted_in in BEFORE_PROMOTION
        )
        if value is not None:
            _replace_value(run.version, value)
        lease.write(set_at=Now())
        _go_on(lease, RunState.SET, "The value at the target is adopted, once it is verified.")


def end_grace(run: Run) -> None:
    """End the old value now, whoever still uses it."""
    with _held(run) as (lease, run):
        _require(run, "ended early", run.state == RunState.GRACE)
        _go_on(lease, RunState.REVOKING, "The grace is ended early, by decision.")


def _replace_value(version: Version, value: SecretText) -> None:
    row: VersionValue = version.value
    row.seal(value)
    row.save()
    version.fingerprint = fingerprint(version.secret, value)
    version.is_generated = False
    version.save(update_fields=["fingerprint", "is_generated"])


@contextmanager
def _held(run: Run) -> Iterator[tuple[Lease, Run]]:
    """Hold the run's lease, so that no worker acts on what is being decided."""
    lease = Lease.take(run.pk)
    if lease is None:
        run.refresh_from_db()
        if run.ended_at is not None:
            raise RunStateError("changed", run.state)
        raise RunBusyError(RunBusyError.__doc__)
    try:
        yield lease, Run.objects.select_related("version__secret").get(pk=run.pk)
    finally:
        lease.release()


def _require(run: Run, action: str, may: bool) -> None:
    if not may:
        raise RunStateError(action, run.state)


def _go_on(lease: Lease, state: RunState, text: str) -> None:
    lease.move(state, text, attempts=0, reason="", halted_in="", next_attempt_at=Now())

"""What a person may decide about a run: resume, roll back, adopt, end the grace."""

from __future__ import annotations

import hmac
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import transaction
from django.db.models.functions import Now

from compliance_site.foundation.secret_text import SecretText
from secrets_rotation.delivery import outbox
from secrets_rotation.exceptions import (
    PendingWorksError,
    RunBusyError,
    RunStateError,
    TargetUnknownError,
)
from secrets_rotation.models import Run, RunState, Version, VersionValue
from secrets_rotation.models.runs import BEFORE_PROMOTION
from secrets_rotation.policies.rules import rules_in_force
from secrets_rotation.policies.strength import check_new, fingerprint
from secrets_rotation.rotators.base import Answer
from secrets_rotation.runs.lease import Lease
from secrets_rotation.runs.steps import end, give_up
from secrets_rotation.runs.work import Work

# Where a run stands while its new value can still be taken back.
TAKEN_BACK = (*BEFORE_PROMOTION, RunState.ROLLING_BACK)


def resume(run: Run) -> None:
    """Go on where the run stopped, with fresh attempts; raise `RunStateError`, `RunBusyError`."""
    with _held(run) as (lease, run):
        _require(run, "resumed", run.state == RunState.ATTENTION)
        _go_on(lease, RunState(run.halted_in), "Resumed.")


def roll_back(run: Run) -> None:
    """Take the new value back; only before it became current.

    A run that is still PENDING ends here: its target was never touched, and may not even be known.
    """
    with _held(run) as (lease, run):
        state = _standing(run)
        _require(run, "rolled back", state in TAKEN_BACK)
        if state == RunState.PENDING:
            give_up(Work(lease), "Rolled back before the target was touched.")
            return
        _go_on(lease, RunState.ROLLING_BACK, "To be rolled back.")


def adopt(run: Run, value: SecretText | None = None) -> None:
    """Take what the target accepts for the new value: this one, or the pending one as it is.

    It is verified like any other before it becomes current. Raise `ValueUnfitError` for one that
    the secret has or had, and `PendingWorksError` or `TargetUnknownError` unless the target
    refuses the pending one: nobody would know of it any more, and so end it.
    """
    with _held(run) as (lease, run):
        may = run.state == RunState.ATTENTION and run.halted_in in TAKEN_BACK
        _require(run, "adopted", may)
        is_other = value is not None and not _is_pending(run.version, value)
        if value is not None and is_other:
            check_new(run.secret, value, rules_in_force(run.secret).history_length)
            _refuse_to_forget(Work(lease))
        with transaction.atomic():
            if value is not None and is_other:
                _replace_value(run.version, value)
            lease.write(set_at=Now())
            _go_on(lease, RunState.SET, "The value at the target is adopted, once it is verified.")


def end_grace(run: Run) -> None:
    """End the old value now, whoever still uses it or waits for the new one."""
    with _held(run) as (lease, run):
        may = run.state in (RunState.DISTRIBUTING, RunState.GRACE) and run.previous is not None
        _require(run, "ended early", may)
        text = "The grace is ended early, by decision."
        if waiting := outbox.waiting_for(run.version):
            text += f" Not delivered to: {', '.join(waiting)}."
        _go_on(lease, RunState.REVOKING, text)


def abandon(run: Run) -> None:
    """End a run that waits for a person, its secret being retired; the target is not touched."""
    with _held(run) as (lease, run):
        _require(run, "abandoned", run.state == RunState.ATTENTION)
        text = "The secret is retired. The target was not asked again and may accept every value."
        if run.halted_in in TAKEN_BACK:
            give_up(Work(lease), text)
        else:
            end(Work(lease), text, is_trouble=True)


def _standing(run: Run) -> str:
    return run.halted_in if run.state == RunState.ATTENTION else run.state


def _is_pending(version: Version, value: SecretText) -> bool:
    return hmac.compare_digest(version.fingerprint, fingerprint(version.secret, value))


def _refuse_to_forget(work: Work) -> None:
    """Raise unless the target refuses the pending value that another one is to replace."""
    if not work.rotator.verifies:
        return
    answer = work.probe(work.pending)
    if answer is Answer.WORKS:
        raise PendingWorksError(PendingWorksError.__doc__)
    if answer is Answer.UNKNOWN:
        raise TargetUnknownError("the target does not say whether it takes the pending value")


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
        runs = Run.objects.select_related("secret__policy", "version__secret", "previous")
        yield lease, runs.get(pk=run.pk)
    finally:
        lease.release()


def _require(run: Run, action: str, may: bool) -> None:
    if not may:
        raise RunStateError(action, run.state)


def _go_on(lease: Lease, state: RunState, text: str) -> None:
    lease.move(state, text, attempts=0, reason="", halted_in="", next_attempt_at=Now())

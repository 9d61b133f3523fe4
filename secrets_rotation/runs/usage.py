"""Who still uses a value that is about to end: the target's own evidence."""

from __future__ import annotations

from secrets_rotation.models import Run, VersionState
from secrets_rotation.rotators.base import Usage
from secrets_rotation.rotators.registry import rotator_of
from secrets_rotation.runs.work import credential_of
from secrets_rotation.unforeseen import texts_withheld


def usages(run: Run) -> list[Usage]:
    """Return the sessions of the run's old value; [] when there is none (any more).

    Raise `TargetUnknownError` when the target does not answer.
    """
    old = run.previous
    if old is None or old.state != VersionState.PREVIOUS:
        return []
    with texts_withheld():
        return rotator_of(run.secret).in_use(credential_of(old))

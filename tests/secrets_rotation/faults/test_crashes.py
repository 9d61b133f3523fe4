"""Workers are killed (SIGKILL) or paused (SIGSTOP) at every point of a rotation, on real targets.

Whatever the point: in the end the run has ended, one value opens the target, it is the current
one, and what was in place was not set again.
"""

import secrets
from datetime import timedelta

import pytest
from django.utils import timezone

from compliance_site.foundation.secret_text import SecretText
from secrets_rotation.models import (
    Rotation,
    Run,
    RunState,
    Step,
    Trigger,
    VersionState,
    VersionValue,
)
from secrets_rotation.rotators.base import Answer
from secrets_rotation.rotators.registry import rotator_of
from secrets_rotation.runs import machine
from secrets_rotation.runs.start import start
from secrets_rotation.runs.work import credential_of

MOST_POINTS = 60
SET_AGAIN = "The new value is set at the target."


@pytest.fixture(params=["postgresql_role", "postgresql_pair", "valkey_acl"])
def secret(request, committed_db):
    return request.getfixturevalue(f"{request.param}_secret")


def time_passes():
    """Let the leases of dead processes and all waits be over."""
    past = timezone.now() - timedelta(seconds=1)
    Run.objects.filter(leased_until__isnull=False).update(leased_until=past)
    Run.objects.in_flight().update(next_attempt_at=past)


def credentials_of(run):
    versions = [version for version in (run.version, run.previous) if version]
    rows = VersionValue.objects.filter(version__in=versions).select_related("version")
    return {row.version_id: credential_of(row.version) for row in rows}


@pytest.mark.parametrize("is_supplied", [False, True])
def test_killed_at_every_point(secret, worker, is_supplied):
    rotator = rotator_of(secret)
    # A first value, so that there is one to lose.
    machine.advance(start(secret, trigger=Trigger.MANUAL).pk)
    was_killed, kill_at = True, 0

    while was_killed and kill_at < MOST_POINTS:
        kill_at += 1
        supplied = SecretText(f"aA1-{secrets.token_urlsafe(24)}") if is_supplied else None
        run = start(secret, trigger=Trigger.MANUAL, supplied=supplied)
        credentials = credentials_of(run)
        was_killed = worker.carry_on(run, kill_at)
        was_in_place = rotator.probe(credentials[run.version_id]) is Answer.WORKS
        sets = run.steps.filter(text=SET_AGAIN).count()

        time_passes()
        worker.carry_on(run)

        run.refresh_from_db()
        assert run.state == RunState.REVOKED, (kill_at, run.state, run.reason)
        answers = {pk: rotator.probe(credential) for pk, credential in credentials.items()}
        assert answers.pop(run.version_id) is Answer.WORKS
        assert set(answers.values()) == {Answer.REFUSED}
        assert Rotation.objects.filter(run=run).count() == 1
        assert secret.versions.get(state=VersionState.CURRENT) == run.version
        if was_in_place:
            assert run.steps.filter(text=SET_AGAIN).count() == sets

    print(f"{secret.rotator}: killed at {kill_at - 1} points, one value works, none set twice")
    assert not was_killed
    assert kill_at > 10


def test_paused_past_its_lease_at_every_point_a_worker_changes_nothing(
    postgresql_role_secret, worker
):
    secret = postgresql_role_secret
    machine.advance(start(secret, trigger=Trigger.MANUAL).pk)
    paused, stop_at = 0, 0

    while paused is not None and stop_at < MOST_POINTS:
        stop_at += 1
        run = start(secret, trigger=Trigger.MANUAL)
        paused = worker.pause(run, stop_at)
        time_passes()
        worker.carry_on(run)
        # The next one has begun and ended too: what the paused one holds is two values old.
        worker.carry_on(start(secret, trigger=Trigger.MANUAL))
        before = evidence_of(secret)

        if paused is not None:
            worker.resume(paused)

        assert evidence_of(secret) == before, stop_at
        current = secret.versions.get(state=VersionState.CURRENT)
        assert rotator_of(secret).probe(credential_of(current)) is Answer.WORKS

    print(f"paused at {stop_at - 1} points, woken after two rotations: nothing changed")
    assert paused is None
    assert stop_at > 10


def evidence_of(secret):
    """Return all that a late worker could have changed in the console."""
    return (
        list(Run.objects.values_list("pk", "state", "fence", "reason").order_by("pk")),
        list(secret.versions.values_list("number", "state")),
        Step.objects.count(),
        Rotation.objects.count(),
    )

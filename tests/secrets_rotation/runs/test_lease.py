from datetime import timedelta

import pytest
import time_machine
from django.utils import timezone

from secrets_rotation.exceptions import LeaseLostError
from secrets_rotation.models import PrincipalLock, Run, RunState, Step, Trigger
from secrets_rotation.runs import lease, machine
from secrets_rotation.runs.lease import Lease
from secrets_rotation.runs.start import start

pytestmark = pytest.mark.django_db


@pytest.fixture
def run(make_secret):
    return start(make_secret(), trigger=Trigger.MANUAL)


def expire(run):
    Run.objects.filter(pk=run.pk).update(leased_until=timezone.now() - timedelta(seconds=1))


def test_a_lease_is_held_by_one(run):
    first = Lease.take(run.pk)

    assert Lease.take(run.pk) is None
    first.release()
    assert Lease.take(run.pk).fence == first.fence + 1


def test_whoever_was_paused_past_the_lease_changes_nothing(run):
    paused = Lease.take(run.pk)
    expire(run)
    heir = Lease.take(run.pk)
    steps = Step.objects.count()

    with pytest.raises(LeaseLostError):
        paused.confirm()
    with pytest.raises(LeaseLostError):
        paused.write(reason="late")
    with pytest.raises(LeaseLostError):
        paused.move(RunState.SET, "late")
    paused.release()

    run.refresh_from_db()
    assert (run.state, run.reason, run.fence) == (RunState.PENDING, "", heir.fence)
    assert run.leased_until is not None
    assert Step.objects.count() == steps


def test_a_lease_ends_by_the_holders_own_clock_too(run):
    held = Lease.take(run.pk)
    held.confirm()
    assert 0 < held.seconds_left() <= lease.SECONDS

    # What passed while the process was paused.
    held._ends -= lease.SECONDS

    assert held.seconds_left() == 0
    with pytest.raises(LeaseLostError):
        held.confirm()


def test_a_clock_that_is_set_back_prolongs_nothing(run):
    held = Lease.take(run.pk)
    left = held.seconds_left()

    with time_machine.travel(timezone.now() - timedelta(days=1)):
        assert held.seconds_left() <= left
        expire_by_database(run)
        with pytest.raises(LeaseLostError):
            held.confirm()


def expire_by_database(run):
    Run.objects.filter(pk=run.pk).update(leased_until="2001-01-01T00:00:00Z")


def test_every_write_renews(run):
    held = Lease.take(run.pk)
    Run.objects.filter(pk=run.pk).update(leased_until=timezone.now() + timedelta(seconds=1))

    held.write(reason="at work")

    run.refresh_from_db()
    assert run.leased_until > timezone.now() + timedelta(seconds=30)


def test_a_principal_is_locked_for_one_run_and_freed_with_its_lease(run, make_secret):
    other = start(make_secret("other"), trigger=Trigger.MANUAL)
    one, two = Lease.take(run.pk), Lease.take(other.pk)

    assert one.take_principal("postgresql://db/app")
    assert one.take_principal("postgresql://db/app")
    assert not two.take_principal("postgresql://db/app")
    assert two.take_principal("postgresql://db/other")

    one.release()
    assert two.take_principal("postgresql://db/app")
    two.release()
    assert not PrincipalLock.objects.exists()


def test_a_principal_is_held_no_shorter_than_the_lease(run):
    held = Lease.take(run.pk)
    held.take_principal("postgresql://db/app")
    PrincipalLock.objects.update(leased_until=timezone.now() + timedelta(seconds=1))

    held.move(RunState.SETTING, "The target refuses both values. Setting anew.")

    run.refresh_from_db()
    assert PrincipalLock.objects.get().leased_until >= run.leased_until


def test_the_principal_of_a_dead_process_is_taken_over(run, make_secret):
    other = start(make_secret("other"), trigger=Trigger.MANUAL)
    Lease.take(run.pk).take_principal("postgresql://db/app")
    PrincipalLock.objects.update(leased_until=timezone.now() - timedelta(seconds=1))

    assert Lease.take(other.pk).take_principal("postgresql://db/app")


def test_a_worker_that_was_paused_in_the_middle_does_nothing(run, make_secret, monkeypatch):
    """It wakes after another one has finished the run: no step, no change, no second set."""
    paused = Lease.take(run.pk)
    expire(run)
    machine.advance(run.pk)
    steps = Step.objects.count()
    monkeypatch.setattr(machine.Lease, "take", lambda run_id: paused)

    machine.advance(run.pk)

    assert Step.objects.count() == steps
    assert Run.objects.get(pk=run.pk).state == RunState.REVOKED

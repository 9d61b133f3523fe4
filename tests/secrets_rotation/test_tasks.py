from datetime import timedelta

import pytest
from django.utils import timezone

from secrets_rotation import break_glass, schedule, tasks
from secrets_rotation.models import Run, RunState, Trigger
from secrets_rotation.runs.start import start

pytestmark = pytest.mark.django_db


@pytest.fixture
def sent(monkeypatch):
    """What goes to the queue: name, arguments and countdown."""
    messages = []

    def note(task):
        def send(args=(), kwargs=None, countdown=None, **options):
            messages.append((task.name.split(".")[-1], *args, countdown))

        return send

    for task in (tasks.advance, tasks.deliver_due, tasks.announce_due):
        monkeypatch.setattr(task, "apply_async", note(task))
    return messages


def test_a_run_that_another_process_holds_is_looked_at_in_a_moment_and_not_at_once(
    make_secret, sent
):
    run = start(make_secret(), trigger=Trigger.MANUAL)
    Run.objects.update(leased_until=timezone.now() + timedelta(minutes=1))

    tasks.advance(run.pk)

    assert sent == [("advance", run.pk, tasks.LEAST_SECONDS)]


def test_a_run_whose_principal_another_one_holds_does_not_spin(make_secret, sent, monkeypatch):
    monkeypatch.setattr(tasks.machine.Lease, "take_principal", lambda self, principal: False)
    run = start(make_secret(), trigger=Trigger.MANUAL)

    tasks.advance(run.pk)

    assert sent == [("advance", run.pk, tasks.LEAST_SECONDS)]


def test_a_wake_up_that_comes_too_early_to_be_seen_is_not_lost(make_secret, sent):
    run = start(make_secret(), trigger=Trigger.MANUAL)
    # Somebody is just writing down that it sleeps until the end of its grace.
    now = timezone.now()
    Run.objects.update(
        state=RunState.GRACE,
        next_attempt_at=now + timedelta(days=7),
        leased_until=now + timedelta(minutes=1),
    )

    tasks.advance(run.pk)

    assert sent == [("advance", run.pk, tasks.LEAST_SECONDS)]


def test_a_run_that_sleeps_or_has_ended_is_left_to_the_tick(make_secret, sent):
    run = start(make_secret(), trigger=Trigger.MANUAL)

    tasks.advance(run.pk)
    tasks.advance(run.pk)

    assert sent == []


@pytest.mark.parametrize("broken", [(schedule, "begin_due"), (break_glass, "carry_on")])
def test_what_is_under_way_goes_on_whatever_is_wrong_with_what_begins(
    make_secret, sent, monkeypatch, broken
):
    def fail():
        raise KeyError("a rotator's mistake")

    monkeypatch.setattr(*broken, fail)
    run = start(make_secret(), trigger=Trigger.MANUAL)

    with pytest.raises(KeyError):
        tasks.tick()

    assert sent == [
        ("advance", run.pk, None),
        ("deliver_due", None),
        ("announce_due", None),
    ]

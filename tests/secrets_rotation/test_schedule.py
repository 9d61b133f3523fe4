from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, time, timedelta

import pytest
from django.db import connection, connections
from django.utils import timezone

from audit.capture.actors import Actor, acting_as
from secrets_rotation import schedule
from secrets_rotation.models import Run, RunState, Secret, Trigger
from secrets_rotation.runs import machine
from secrets_rotation.runs.start import start

LONG_AGO = datetime(2024, 1, 31, 10, 45, tzinfo=UTC)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("anchor", "rotated", "count", "unit", "due"),
    [
        ("2025-11-09", "2025-11-09", 90, "days", "2026-02-07"),
        ("2025-11-09", "2025-11-09", 3, "months", "2026-02-09"),
        ("2025-01-31", "2025-01-31", 1, "months", "2025-02-28"),
        ("2025-01-31", "2025-02-28", 1, "months", "2025-03-31"),
        ("2025-01-31", "2025-03-30", 1, "months", "2025-03-31"),
        ("2025-01-31", "2025-03-30", 3, "months", "2025-04-30"),
        ("2024-02-29", "2024-02-29", 12, "months", "2025-02-28"),
        # Rotated late: the next one is where it would have been.
        ("2025-11-09", "2026-02-10", 3, "months", "2026-05-09"),
    ],
)
def test_due_dates_are_anchored(anchor, rotated, count, unit, due):
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT secrets_rotation_due(%s, %s, %s, %s)",
            [date.fromisoformat(anchor), date.fromisoformat(rotated), count, unit],
        )
        (found,) = cursor.fetchone()

    assert found == datetime.combine(date.fromisoformat(due), time.min, UTC)


@pytest.fixture
def make_due(make_secret):
    def make(name="due", *, rotated=LONG_AGO, **overrides):
        return make_secret(name, last_rotated_at=rotated, anchored_on=rotated.date(), **overrides)

    return make


@pytest.mark.django_db
def test_what_is_due_is_begun_once(make_due):
    secret = make_due()

    (run,) = schedule.begin_due()

    assert (run.secret, run.trigger) == (secret, Trigger.SCHEDULE)
    assert schedule.begin_due() == []


@pytest.mark.django_db
def test_the_longest_overdue_come_first_and_only_so_many(make_due, settings):
    settings.ROTATIONS_AT_ONCE = 2
    make_due("young", rotated=LONG_AGO + timedelta(days=9))
    make_due("old")
    make_due("middle", rotated=LONG_AGO + timedelta(days=5))

    assert [run.secret.name for run in schedule.begin_due()] == ["old", "middle"]
    assert schedule.begin_due() == []

    Run.objects.update(state=RunState.GRACE)
    assert [run.secret.name for run in schedule.begin_due()] == ["young"]


@pytest.mark.django_db
def test_what_is_retired_manual_or_not_due_is_left_alone(make_due):
    make_due("retired", retired_at=timezone.now())
    make_due("manual", rules={"auto_rotate": False})
    make_due("young", rotated=timezone.now())

    assert schedule.begin_due() == []


@pytest.mark.django_db
def test_a_failed_rotation_is_not_begun_anew_each_minute(make_due, paper_of):
    secret = make_due()
    paper_of(secret).refuses_rule = "passwordcheck"
    (run,) = schedule.begin_due()
    machine.advance(run.pk)

    assert schedule.begin_due() == []

    Run.objects.update(ended_at=timezone.now() - schedule.AFTER_FAILURE)
    assert [run.secret for run in schedule.begin_due()] == [secret]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("opens", "closes", "is_open"),
    [(-60, 60, True), (60, 120, False), (-120, -60, False), (0, 0, True)],
)
def test_rotations_begin_only_in_their_window(make_due, opens, closes, is_open):
    now = timezone.now()
    window = {
        "window_start": (now + timedelta(minutes=opens)).time(),
        "window_end": (now + timedelta(minutes=closes)).time(),
    }
    make_due(rules=window)

    assert bool(schedule.begin_due()) is is_open


@pytest.mark.django_db
def test_a_scheduled_rotation_keeps_the_anchor_and_a_manual_one_moves_it(make_due):
    secret = make_due(rules={"interval": 3, "interval_unit": "months"})
    (run,) = schedule.begin_due()
    machine.advance(run.pk)
    secret.refresh_from_db()
    assert secret.anchored_on == LONG_AGO.date()

    machine.advance(start(secret, trigger=Trigger.MANUAL).pk)

    secret.refresh_from_db()
    assert secret.anchored_on == timezone.now().date()


@pytest.mark.django_db
def test_sleepers_are_runs_whose_wait_is_over_or_whose_process_died(make_secret):
    waiting, dead, at_work, asked = (
        start(make_secret(name), trigger=Trigger.MANUAL) for name in ("a", "b", "c", "d")
    )
    now = timezone.now()
    soon, past = now + timedelta(hours=1), now - timedelta(seconds=1)
    Run.objects.filter(pk=waiting.pk).update(next_attempt_at=soon)
    Run.objects.filter(pk=dead.pk).update(leased_until=past)
    Run.objects.filter(pk=at_work.pk).update(leased_until=soon)
    Run.objects.filter(pk=asked.pk).update(state=RunState.ATTENTION)

    assert schedule.sleepers() == [dead.pk]


@pytest.mark.django_db
def test_consumers_that_are_away_do_not_hold_the_schedule_up(make_due, make_secret, settings):
    settings.ROTATIONS_AT_ONCE = 1
    start(make_secret("away"), trigger=Trigger.MANUAL)
    Run.objects.update(state=RunState.DISTRIBUTING)
    make_due("due")

    assert [run.secret.name for run in schedule.begin_due()] == ["due"]


def test_ticks_at_once_begin_each_rotation_once(committed_db, make_due):
    for number in range(10):
        make_due(f"secret-{number}")

    def tick(_):
        try:
            with acting_as(Actor("task", "tick")):
                return len(schedule.begin_due())
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        begun = list(pool.map(tick, range(8)))

    assert sum(begun) == Run.objects.count() == 10
    assert Secret.objects.count() == 10

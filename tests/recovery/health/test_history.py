from datetime import UTC, datetime, timedelta

import pytest
from django.db import connections

from recovery.health import history
from recovery.health.history import SLOT, SLOTS, common_gap, strips
from recovery.models import HealthSample
from recovery.tasks import sample_health

NOW = datetime(2026, 11, 23, 10, 7, 30, tzinfo=UTC)
END = datetime(2026, 11, 23, 10, 10, tzinfo=UTC)


@pytest.fixture
def keep(db):
    def keep(status, *, minutes_ago=0, component="database"):
        HealthSample.objects.create(
            component=component, status=status, taken_at=NOW - timedelta(minutes=minutes_ago)
        )

    return keep


def drawn(strip):
    return [(stretch.status, stretch.offset, stretch.slots) for stretch in strip.stretches]


def test_a_minutes_sample_holds_every_part(committed_db, patient):
    sample_health()

    kept = dict(HealthSample.objects.values_list("component", "status"))
    assert set(kept) == {"database", "redis", "celery", "disk", "audit", "backup"}
    assert (kept["database"], kept["backup"]) == ("healthy", "healthy")


def test_backups_that_are_switched_off_are_no_part(committed_db, settings):
    settings.ENABLE_AUTOMATED_BACKUPS = False

    sample_health()

    assert not HealthSample.objects.filter(component="backup").exists()


def test_old_samples_go(committed_db):
    old = HealthSample.objects.create(component="database", status="healthy")
    young = HealthSample.objects.create(component="database", status="healthy")
    now = young.taken_at
    HealthSample.objects.filter(pk=old.pk).update(taken_at=now - timedelta(days=8, minutes=1))
    HealthSample.objects.filter(pk=young.pk).update(taken_at=now - timedelta(days=7, hours=23))

    history.sample()

    assert not HealthSample.objects.filter(pk=old.pk).exists()
    assert HealthSample.objects.filter(pk=young.pk).exists()


def test_nothing_is_written_to_a_database_that_does_not_answer(
    committed_db, monkeypatch, django_assert_num_queries
):
    monkeypatch.setitem(
        connections.settings, "default", connections.settings["default"] | {"PORT": 1}
    )

    with django_assert_num_queries(0):
        assert history.sample() == 0


def test_a_day_without_samples_is_one_gap(db):
    (strip,) = strips(["database"], NOW)

    assert drawn(strip) == [("", 0, SLOTS)]
    assert (strip.availability, strip.unknown, strip.troubles) == (None, timedelta(days=1), [])


def test_a_slot_shows_its_worst_minute_and_a_missing_one_is_a_gap(keep):
    keep("healthy", minutes_ago=0)
    keep("unhealthy", minutes_ago=1)
    keep("degraded", minutes_ago=2)
    keep("degraded", minutes_ago=12)
    keep("unhealthy", minutes_ago=0, component="redis")

    (strip,) = strips(["database"], NOW)

    assert drawn(strip) == [
        ("", 0, SLOTS - 3),
        ("degraded", SLOTS - 3, 1),
        ("", SLOTS - 2, 1),
        ("unhealthy", SLOTS - 1, 1),
    ]
    assert [(each.status, each.start, each.end) for each in strip.troubles] == [
        ("unhealthy", END - SLOT, END),
        ("degraded", END - 3 * SLOT, END - 2 * SLOT),
    ]
    assert (strip.availability, strip.unknown) == (75.0, timedelta(minutes=1430))


def test_a_gap_of_all_parts_is_told_from_one_of_a_single_part(keep):
    for component in ("database", "redis"):
        keep("healthy", component=component)
    assert common_gap(strips(["database", "redis"], NOW)) == timedelta(days=1) - SLOT

    keep("healthy", minutes_ago=30)

    assert common_gap(strips(["database", "redis"], NOW)) is None


def test_neighbours_that_stand_the_same_are_one_stretch(keep):
    for minutes in range(0, 60, 5):
        keep("healthy", minutes_ago=minutes)

    (strip,) = strips(["database"], NOW)

    assert drawn(strip) == [("", 0, SLOTS - 12), ("healthy", SLOTS - 12, 12)]
    assert strip.availability == 100.0


def test_the_day_begins_a_day_before_its_last_slot_ends(keep):
    HealthSample.objects.create(
        component="database", status="healthy", taken_at=END - timedelta(days=1)
    )
    HealthSample.objects.create(
        component="database",
        status="unhealthy",
        taken_at=END - timedelta(days=1, microseconds=1),
    )

    (strip,) = strips(["database"], NOW)

    assert drawn(strip)[0] == ("healthy", 0, 1)
    assert strip.sampled == 1


def test_one_bad_minute_is_never_rounded_away(db):
    HealthSample.objects.bulk_create(
        HealthSample(
            component="database",
            status="unhealthy" if minute == 0 else "healthy",
            taken_at=NOW - timedelta(seconds=minute),
        )
        for minute in range(30_000)
    )

    (strip,) = strips(["database"], NOW)

    assert strip.availability == 99.99


def test_the_strips_of_all_parts_are_one_query(db, django_assert_num_queries):
    with django_assert_num_queries(1):
        assert len(strips(["database", "redis", "disk"], NOW)) == 3

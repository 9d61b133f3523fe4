import threading
from datetime import UTC, date, datetime, timedelta

import pytest
from django.db import connection

from compliance_site.foundation.notices.models import Notice
from secrets_rotation.models import Consumer, Delivery, PolicyOverride, Run, Secret, Version
from secrets_rotation.notices import (
    announce_due,
    delivery_failing,
    needs_attention,
    rotation_failed,
    threshold,
)

DUE = datetime(2026, 3, 31, tzinfo=UTC)
ROTATED = datetime(2026, 3, 1, 15, tzinfo=UTC)


@pytest.fixture(autouse=True)
def channels(settings):
    settings.NOTICE_EMAIL_TO = ["ops@example.org"]
    settings.NOTICE_WEBHOOK_URL = "https://hooks.example.org/"
    settings.NOTICE_APPRISE_URLS = []


@pytest.fixture
def make_secret():
    """Make a secret that is due on 31 March, thirty days after its last rotation."""

    def make(name="main", *, auto_rotate=False, interval=30, **overrides):
        defaults = {"rotator": "postgresql_role", "anchored_on": date(2026, 3, 1)}
        defaults |= {"policy_id": "DATABASE", "last_rotated_at": ROTATED, "owner": "payments"}
        secret = Secret.objects.create(name=name, **defaults | overrides)
        PolicyOverride.objects.create(
            secret=secret, interval=interval, interval_unit="days", auto_rotate=auto_rotate
        )
        return secret

    return make


def told(channel="email"):
    return list(
        Notice.objects.filter(channel=channel)
        .order_by("created_at", "key")
        .values_list("subject", flat=True)
    )


def announce_daily(first, days):
    for day in range(days):
        announce_due(first + timedelta(days=day))


@pytest.mark.django_db
def test_each_threshold_is_told_once_for_each_channel(make_secret):
    make_secret()

    for hour in range(24 * 12):
        announce_due(DUE - timedelta(days=9) + timedelta(hours=hour))

    keys = {
        channel: sorted(Notice.objects.filter(channel=channel).values_list("key", flat=True))
        for channel in ("email", "webhook")
    }
    assert [key.rpartition("|")[2] for key in keys["email"]] == ["1", "3", "7", "overdue"]
    assert keys["webhook"] == keys["email"]
    assert Notice.objects.count() == 8


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("left", "reached"),
    [
        (timedelta(days=7, seconds=1), None),
        (timedelta(days=7), "7"),
        (timedelta(days=3, seconds=1), "7"),
        (timedelta(days=3), "3"),
        (timedelta(days=1, seconds=1), "3"),
        (timedelta(days=1), "1"),
        (timedelta(seconds=1), "1"),
        (timedelta(0), "overdue"),
        (timedelta(days=-400), "overdue"),
    ],
)
def test_the_thresholds_begin_where_they_say(make_secret, left, reached):
    make_secret()

    announce_due(DUE - left)

    keys = Notice.objects.filter(channel="email").values_list("key", flat=True)
    assert [key.rpartition("|")[2] for key in keys] == ([reached] if reached else [])


@pytest.mark.django_db
def test_after_an_outage_only_the_nearest_is_told(make_secret):
    make_secret()

    announce_daily(DUE - timedelta(hours=30), 1)
    assert told() == ["Rotation of DATABASE main is due on 2026-03-31"]

    announce_due(DUE + timedelta(days=5))
    assert told()[1:] == ["Rotation of DATABASE main is overdue since 2026-03-31"]
    assert Notice.objects.filter(channel="email").count() == 2


@pytest.mark.django_db
def test_a_date_that_moved_is_told_anew(make_secret):
    secret = make_secret()
    announce_due(DUE - timedelta(days=2))
    Secret.objects.filter(pk=secret.pk).update(last_rotated_at=ROTATED + timedelta(days=30))

    announce_due(DUE - timedelta(days=1))
    assert len(told()) == 1, "the next date is a month away"

    announce_due(DUE + timedelta(days=28))
    assert told()[1:] == ["Rotation of DATABASE main is due on 2026-04-30"]


@pytest.mark.django_db
def test_what_the_schedule_rotates_has_a_day_before_it_is_overdue(make_secret):
    make_secret(auto_rotate=True)

    announce_due(DUE + timedelta(hours=23))
    assert told() == []

    announce_due(DUE + timedelta(hours=24))
    (notice,) = Notice.objects.filter(channel="email")
    assert notice.urgency == "urgent"
    assert "look at its runs" in notice.body


@pytest.mark.django_db
def test_what_people_have_to_do_is_said(make_secret):
    make_secret("by-hand")
    make_secret("by-itself", auto_rotate=True)
    make_secret("brought", auto_rotate=True, rotator="supplied", owner="")

    announce_due(DUE - timedelta(days=1))

    by_hand = "It does not rotate by itself: somebody has to begin the rotation."
    by_itself = "It rotates by itself on that day, in its window."
    due = "is due on 2026-03-31 (UTC)."
    bodies = Notice.objects.filter(channel="email").order_by("body").values_list("body", flat=True)
    assert [body.splitlines() for body in bodies] == [
        [f"The rotation of DATABASE brought {due} Nobody is named as its owner.", by_hand],
        [f"The rotation of DATABASE by-hand {due} Its owner is payments.", by_hand],
        [f"The rotation of DATABASE by-itself {due} Its owner is payments.", by_itself],
    ]


@pytest.mark.django_db
@pytest.mark.parametrize("secret_type", ["DATABASE", "API_KEY", "OAUTH_SECRET"])
@pytest.mark.parametrize("name", ["main", "access-token", "client_secret", "password", "db.key"])
def test_the_names_of_secrets_are_no_secrets(make_secret, secret_type, name):
    make_secret(name, policy_id=secret_type)

    announce_due(DUE)

    (notice,) = Notice.objects.filter(channel="email")
    assert notice.subject == f"Rotation of {secret_type} {name} is overdue since 2026-03-31"
    assert f"{secret_type} {name} is overdue" in notice.body


@pytest.mark.django_db
def test_a_retired_secret_is_nobodys_business(make_secret):
    make_secret(retired_at=ROTATED)

    announce_due(DUE)

    assert told() == []


@pytest.mark.django_db
def test_without_a_time_it_is_the_databases(make_secret):
    with connection.cursor() as cursor:
        cursor.execute("SELECT now()")
        (now,) = cursor.fetchone()
    make_secret(interval=2, last_rotated_at=now, anchored_on=now.date())

    announce_due()

    assert len(told()) == 1


def test_two_at_once_tell_it_once(committed_db, make_secret):
    for number in range(10):
        make_secret(f"s-{number}")
    barrier = threading.Barrier(4)

    def work():
        barrier.wait()
        announce_due(DUE)
        connection.close()

    tellers = [threading.Thread(target=work) for _ in range(4)]
    for teller in tellers:
        teller.start()
    for teller in tellers:
        teller.join()

    assert Notice.objects.count() == 20


def test_an_automatic_one_is_not_told_between_its_date_and_the_day_after():
    assert threshold(timedelta(hours=-1), is_automatic=True) == ""
    assert threshold(timedelta(hours=-24), is_automatic=True) == "overdue"


@pytest.fixture
def version(make_secret):
    return Version.objects.create(
        secret=make_secret(), number=2, state="pending", is_generated=True, fingerprint="f"
    )


@pytest.fixture
def run(version):
    return Run.objects.create(
        secret=version.secret,
        version=version,
        state="ATTENTION",
        reason="Given up after 12 attempts.",
        trigger="schedule",
        actor_type="task",
        actor="secrets_rotation.tick",
        grace=timedelta(hours=1),
    )


@pytest.mark.django_db
def test_a_run_that_needs_a_person_is_told_at_once_and_once_for_each_reason(run):
    needs_attention(run)
    needs_attention(run)
    needs_attention(run, "The target refuses the current value as well.")

    notices = Notice.objects.filter(channel="email")
    assert {notice.urgency for notice in notices} == {"urgent"}
    assert told() == ["Rotation of DATABASE main needs a person"] * 2
    assert {notice.body.splitlines()[1] for notice in notices} == {
        "Reason: Given up after 12 attempts.",
        "Reason: The target refuses the current value as well.",
    }


@pytest.mark.django_db
def test_a_rotation_that_failed_is_told_once(run):
    rotation_failed(run, "The target refused the value: too short.")
    rotation_failed(run, "The target refused the value: too short.")

    (notice,) = Notice.objects.filter(channel="email")
    assert notice.subject == "Rotation of DATABASE main failed"
    assert "Reason: The target refused the value: too short." in notice.body
    assert "stays current" in notice.body


@pytest.mark.django_db
def test_a_delivery_that_does_not_arrive_is_told_once_for_each_error(version):
    consumer = Consumer.objects.create(secret=version.secret, name="shop", delivery="file")
    delivery = Delivery.objects.create(
        consumer=consumer, version=version, attempts=5, error="The folder is not there."
    )

    delivery_failing(delivery)
    delivery.attempts = 6
    delivery_failing(delivery)
    delivery.error = "The disk is full."
    delivery_failing(delivery)

    assert told() == ["version 2 of DATABASE main does not reach shop"] * 2
    first = Notice.objects.filter(channel="email").order_by("created_at").first()
    assert first.body.startswith(
        f"Delivery {delivery.pk} by file failed 5 times and is tried again.\n"
        "Reason: The folder is not there.\n"
    )

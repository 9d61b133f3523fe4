from datetime import timedelta

import pytest
from celery import current_app
from django.utils import timezone
from kombu.exceptions import OperationalError

from audit.models import AuditLog
from compliance_site.foundation.notices.models import Notice
from secrets_rotation.delivery import consumers, outbox
from secrets_rotation.delivery.destinations.file import File
from secrets_rotation.delivery.outbox import DeliverySummary
from secrets_rotation.exceptions import DeliveryError
from secrets_rotation.models import Delivery, DeliveryState, RunState, VersionState
from secrets_rotation.unforeseen import UnforeseenError
from tests.secrets_rotation.delivery.conftest import VALUE

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("actor")]


@pytest.fixture
def secret(make_secret):
    return make_secret()


@pytest.fixture
def file_consumer(secret, folder):
    """A consumer that gets a file, registered before there was any version."""
    return consumers.register(secret, "api", "file", {"path": "password"})


def make_due():
    Delivery.objects.update(
        next_attempt_at=timezone.now() - timedelta(seconds=1), leased_until=None
    )


def events(action):
    return AuditLog.objects.filter(action=action)


def test_a_version_reaches_every_consumer(secret, file_consumer, make_version, folder):
    consumers.register(secret, "worker", "none")
    version = make_version(secret)
    outbox.enqueue(version)
    assert outbox.state_of(version) == DeliverySummary(waiting=2, delivered=0, failing=0)

    assert outbox.deliver_due() == 2

    assert outbox.state_of(version) == DeliverySummary(waiting=0, delivered=2, failing=0)
    assert (folder / "password").read_text() == VALUE.format(1)
    assert {entry.resource for entry in events("DELIVER")} == {
        f"/secrets/{secret.pk}/consumers/{consumer.pk}" for consumer in secret.consumers.all()
    }


def test_enqueueing_twice_is_the_same_as_once(secret, file_consumer, make_version):
    version = make_version(secret)
    outbox.enqueue(version)
    outbox.enqueue(version)

    assert Delivery.objects.count() == 1


def test_a_newer_version_supersedes_those_that_wait(secret, file_consumer, make_version, folder):
    first = make_version(secret, 1)
    outbox.enqueue(first)
    second = make_version(secret, 2)
    outbox.enqueue(second)

    outbox.deliver_due()

    assert first.deliveries.get().state == DeliveryState.SUPERSEDED
    assert second.deliveries.get().state == DeliveryState.DELIVERED
    assert (folder / "password").read_text() == VALUE.format(2)


def test_one_superseded_while_under_way_is_not_marked(
    secret, file_consumer, make_version, monkeypatch
):
    first = make_version(secret, 1)
    outbox.enqueue(first)
    monkeypatch.setattr(
        File, "deliver", lambda self, parcel: outbox.enqueue(make_version(secret, 2))
    )

    assert not outbox.deliver(first.deliveries.get().pk)

    assert first.deliveries.get().state == DeliveryState.SUPERSEDED
    assert not events("DELIVER").exists()


def test_retired_consumers_get_nothing(secret, file_consumer, make_version):
    consumers.retire(file_consumer)
    outbox.enqueue(make_version(secret))

    assert Delivery.objects.count() == 0


def test_a_failure_is_noted_and_tried_again_later(secret, file_consumer, make_version, folder):
    (folder / "password").mkdir()
    version = make_version(secret)
    outbox.enqueue(version)

    assert outbox.deliver_due() == 1
    assert outbox.deliver_due() == 0

    delivery = version.deliveries.get()
    assert delivery.error == "password is there, but is no ordinary file."
    assert delivery.attempts == 1
    assert delivery.leased_until is None
    assert outbox.state_of(version) == DeliverySummary(waiting=1, delivered=0, failing=1)

    (folder / "password").rmdir()
    make_due()
    outbox.deliver_due()

    assert outbox.state_of(version) == DeliverySummary(waiting=0, delivered=1, failing=0)
    assert version.deliveries.get().error == ""


def test_the_first_failure_is_an_event_and_then_each_tenth(
    secret, file_consumer, make_version, folder
):
    (folder / "password").mkdir()
    outbox.enqueue(make_version(secret))

    for _ in range(25):
        make_due()
        outbox.deliver_due()

    attempts = [entry.details for entry in events("DELIVERY_FAILED").order_by("id")]
    assert ['"attempt":1,' in attempts[0], '"attempt":10,' in attempts[1]] == [True, True]
    assert len(attempts) == 3


def test_waits_grow_are_bounded_and_differ():
    waits = [[outbox._wait(attempt) for _ in range(50)] for attempt in (1, 4, 200)]

    for several, longest in zip(waits, (5, 40, 900), strict=True):
        assert max(several) <= timedelta(seconds=longest)
        assert min(several) >= timedelta(seconds=longest / 2)
        assert len(set(several)) > 40


def test_a_version_without_a_value_is_a_failure_and_no_crash(secret, file_consumer, make_version):
    version = make_version(secret)
    version.value.delete()
    outbox.enqueue(version)

    outbox.deliver_due()

    assert version.deliveries.get().error == "Version 1 has no value any more."


def test_a_value_that_cannot_be_unsealed_is_a_failure(
    secret, file_consumer, make_version, settings
):
    version = make_version(secret)
    outbox.enqueue(version)
    settings.COMPLIANCE_MASTER_KEY = "0" * 64

    outbox.deliver_due()

    assert "No master key" in version.deliveries.get().error


def test_one_whose_worker_was_killed_is_taken_up_after_its_lease(
    secret, file_consumer, make_version, monkeypatch
):
    version = make_version(secret)
    outbox.enqueue(version)
    outbox._claim(Delivery.objects.all())
    delivery_id = version.deliveries.get().pk
    assert not outbox.deliver(delivery_id)

    Delivery.objects.update(leased_until=timezone.now() - timedelta(seconds=1))

    assert outbox.deliver(delivery_id)


def test_one_that_breaks_its_worker_is_not_first_in_line_again(
    secret, file_consumer, make_version, monkeypatch
):
    consumers.register(secret, "worker", "none")
    version = make_version(secret)
    outbox.enqueue(version)

    def broken(self, parcel):
        raise RuntimeError(parcel.value.reveal())

    monkeypatch.setattr(File, "deliver", broken)
    # Without the text, in which the value is.
    with pytest.raises(UnforeseenError, match=r"^RuntimeError$"):
        outbox.deliver_due()

    assert outbox.deliver_due() == 1
    assert outbox.state_of(version) == DeliverySummary(waiting=1, delivered=1, failing=0)


def test_the_version_before_goes_along_where_it_is_wanted_and_works(
    secret, make_version, monkeypatch, folder
):
    consumers.register(
        secret, "api", "file", {"path": "db.json", "format": "json", "previous": True}
    )
    make_version(secret, 1)
    outbox.enqueue(make_version(secret, 2))
    parcels = []
    monkeypatch.setattr(File, "deliver", lambda self, parcel: parcels.append(parcel))

    outbox.deliver_due()

    assert parcels[0].earlier.number == 1
    assert parcels[0].earlier.value.reveal() == VALUE.format(1)


def test_the_run_is_woken_when_the_last_one_has_arrived(
    secret,
    file_consumer,
    make_version,
    make_run,
    sent_tasks,
    django_capture_on_commit_callbacks,
    folder,
):
    worker = consumers.register(secret, "worker", "none")
    version = make_version(secret)
    run = make_run(version)
    with django_capture_on_commit_callbacks(execute=True):
        outbox.enqueue(version)
    assert sent_tasks == [("secrets_rotation.deliver_due", None)]

    with django_capture_on_commit_callbacks(execute=True):
        outbox.deliver(version.deliveries.get(consumer=worker).pk)
    assert sent_tasks[1:] == []

    with django_capture_on_commit_callbacks(execute=True):
        outbox.deliver(version.deliveries.get(consumer=file_consumer).pk)
    assert sent_tasks[1:] == [("secrets_rotation.advance", [run.pk])]


def test_a_run_that_has_ended_is_left_alone(
    secret, file_consumer, make_version, make_run, sent_tasks, django_capture_on_commit_callbacks
):
    version = make_version(secret)
    run = make_run(version)
    run.state, run.ended_at = RunState.REVOKED, timezone.now()
    run.save()
    outbox.enqueue(version)

    with django_capture_on_commit_callbacks(execute=True):
        outbox.deliver_due()

    assert sent_tasks == []


def test_nobody_to_deliver_to_sends_no_message(
    secret, make_version, sent_tasks, django_capture_on_commit_callbacks
):
    with django_capture_on_commit_callbacks(execute=True):
        outbox.enqueue(make_version(secret))

    assert sent_tasks == []


def test_no_queue_is_no_reason_to_fail(
    secret, file_consumer, make_version, monkeypatch, django_capture_on_commit_callbacks
):
    def unreachable(*args, **kwargs):
        raise OperationalError

    monkeypatch.setattr(current_app, "send_task", unreachable)
    version = make_version(secret)

    with django_capture_on_commit_callbacks(execute=True):
        outbox.enqueue(version)

    assert outbox.state_of(version).waiting == 1


def test_the_oldest_waits_are_served_first_and_none_begins_after_the_deadline(
    secret, file_consumer, make_version
):
    outbox.enqueue(make_version(secret))

    assert outbox.deliver_due(seconds=0) == 0
    assert outbox.deliver_due() == 1


def test_a_pending_version_is_not_sent_to_a_new_consumer(secret, make_version):
    make_version(secret, 1, VersionState.PENDING)

    consumers.register(secret, "api", "none")

    assert Delivery.objects.count() == 0


def test_people_are_told_of_a_delivery_that_keeps_failing(
    secret, file_consumer, make_version, folder, settings
):
    settings.NOTICE_EMAIL_TO = ["ops@example.org"]
    folder.rmdir()
    outbox.enqueue(make_version(secret))

    told = []
    for _ in range(6):
        make_due()
        outbox.deliver_due()
        told.append(Notice.objects.count())

    assert told == [0, 0, 0, 1, 1, 1]
    assert "failed 4 times" in Notice.objects.get().body


def test_a_reason_longer_than_its_column_is_cut(secret, file_consumer, make_version, monkeypatch):
    def refuse(self, parcel):
        raise DeliveryError("x" * 2_000)

    monkeypatch.setattr(File, "deliver", refuse)
    version = make_version(secret)
    outbox.enqueue(version)

    outbox.deliver_due()

    assert version.deliveries.get().error == "x" * 500

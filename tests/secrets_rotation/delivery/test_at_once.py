"""Several workers, a worker that is killed, and registrations at the moment of a promotion."""

import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connections, transaction
from django.utils import timezone

from audit.capture.actors import Actor, acting_as
from secrets_rotation.delivery import consumers, outbox
from secrets_rotation.delivery.destinations.none import NoDelivery
from secrets_rotation.delivery.outbox import DeliverySummary
from secrets_rotation.models import Delivery, DeliveryState
from tests.secrets_rotation.delivery.conftest import VALUE

pytestmark = pytest.mark.usefixtures("committed_db", "sent_tasks")
ACTOR = Actor("task", "secrets_rotation.deliver_due")


@pytest.fixture
def secret(make_secret, actor):
    return make_secret()


def in_thread(work):
    """Work as another worker: with a connection and an actor of its own."""
    try:
        with acting_as(ACTOR):
            return work()
    finally:
        connections.close_all()


def test_two_workers_share_the_work_and_nothing_is_delivered_twice(
    secret, make_version, make_run, sent_tasks, monkeypatch
):
    for number in range(20):
        consumers.register(secret, f"consumer-{number}", "none")
    version = make_version(secret)
    run = make_run(version)
    with transaction.atomic():
        outbox.enqueue(version)
    delivered, both = [], threading.Barrier(2)

    def deliver(self, parcel):
        delivered.append(threading.get_ident())
        if len(delivered) <= 2:
            both.wait(10)

    monkeypatch.setattr(NoDelivery, "deliver", deliver)
    with ThreadPoolExecutor(2) as pool:
        tried = list(pool.map(lambda _: in_thread(outbox.deliver_due), range(2)))

    assert sum(tried) == len(delivered) == 20
    assert len(set(delivered)) == 2
    assert outbox.state_of(version) == DeliverySummary(waiting=0, delivered=20, failing=0)
    assert ("secrets_rotation.advance", [run.pk]) in sent_tasks


def test_a_frozen_worker_that_thaws_marks_nothing(secret, make_version):
    consumers.register(secret, "api", "none")
    version = make_version(secret)
    with transaction.atomic():
        outbox.enqueue(version)
    frozen = outbox._claim(Delivery.objects.all())
    Delivery.objects.update(leased_until=timezone.now() - timedelta(seconds=1))
    taken_over = outbox._claim(Delivery.objects.all())

    assert not outbox._mark_delivered(frozen)
    assert outbox.state_of(version).waiting == 1
    assert outbox._mark_delivered(taken_over)


KILLED = """
import os, signal, sys
import django
django.setup()
from audit.capture.actors import Actor, acting_as
from secrets_rotation.delivery import outbox
outbox._mark_delivered = lambda claim: os.kill(os.getpid(), signal.SIGKILL)
with acting_as(Actor("task", "secrets_rotation.deliver_due")):
    outbox.deliver_due()
"""


def test_killed_between_delivery_and_mark_it_is_delivered_again(
    secret, make_version, folder, monkeypatch
):
    """The value has arrived, nobody knows: a second worker finds it there and says so."""
    consumers.register(secret, "api", "env_file", {"path": ".env", "variable": "DB_PASSWORD"})
    version = make_version(secret)
    with transaction.atomic():
        outbox.enqueue(version)
    monkeypatch.setenv("DELIVERY_FOLDER", str(folder))
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "compliance_site.settings")

    killed = subprocess.run([sys.executable, "-c", KILLED], cwd=os.getcwd(), check=False)

    assert killed.returncode == -signal.SIGKILL
    assert (folder / ".env").read_text() == f"DB_PASSWORD={VALUE.format(1)}\n"
    arrived = (folder / ".env").stat()
    delivery = version.deliveries.get()
    assert (delivery.state, delivery.attempts) == (DeliveryState.WAITING, 1)
    assert not outbox.deliver(delivery.pk)

    Delivery.objects.update(leased_until=timezone.now() - timedelta(seconds=1))
    assert outbox.deliver(delivery.pk)
    assert (folder / ".env").stat() == arrived


def test_a_consumer_registered_during_a_promotion_gets_the_new_version(secret, make_version):
    make_version(secret, 1)
    registered = threading.Event()

    def register():
        consumers.register(secret, "late", "none")
        registered.set()

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            second = make_version(secret, 2)
            outbox.enqueue(second)
            late = pool.submit(in_thread, register)
            assert not registered.wait(0.3)
        late.result(10)

    assert [each.version for each in Delivery.objects.all()] == [second]


def test_two_acknowledgements_at_once_are_one(secret, make_version):
    consumer = consumers.register(secret, "api", "none")
    make_version(secret)

    def acknowledge(_):
        return in_thread(lambda: consumers.acknowledge(consumer, 1, ACTOR).pk)

    with ThreadPoolExecutor(4) as pool:
        ids = set(pool.map(acknowledge, range(4)))

    assert len(ids) == 1

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from celery import shared_task
from django.db import connection, connections

import audit
from audit.capture.actors import Actor, Circumstances, acting_as, in_circumstances
from audit.capture.celery_task import Caller
from audit.ledger import partitions
from audit.models import AuditLog
from audit.tasks import make_partitions

ROOT = Path(__file__).resolve().parents[2]
WORKER = [sys.executable, "-m", "celery", "-A", "compliance_site", "worker"]


@shared_task(name="tests.record_something")
def record_something():
    audit.record("START", resource="/bot/7")


@shared_task(name="tests.pass_on")
def pass_on():
    """A task that enqueues another."""
    record_something.delay()


@pytest.mark.django_db
def test_what_a_task_records_is_recorded_as_done_by_the_task():
    record_something.apply(task_id="task-12345678")

    log = AuditLog.objects.get()
    assert (log.actor_type, log.actor) == ("task", "tests.record_something")
    assert log.request_id == "task-12345678"


@pytest.mark.django_db
def test_a_task_that_is_called_directly_works_for_the_caller(actor):
    record_something()

    log = AuditLog.objects.get()
    assert (log.actor_type, log.request_id) == ("task", "test-request")
    assert json.loads(log.details) == {
        "onBehalfOf": {"type": "command", "name": "tester: manage.py test", "userId": None}
    }


@pytest.mark.parametrize(
    "header",
    [
        None,
        "alice",
        {},
        {"actor": {"type": "user", "name": "alice", "userId": 1}},
        {"actor": {"type": "user", "name": "alice", "userId": 1}, "requestId": "a b"},
        {"actor": {"type": "user", "name": ["alice"], "userId": 1}, "requestId": "req-12345678"},
        {"actor": "alice", "requestId": "req-12345678"},
    ],
    ids=repr,
)
def test_a_header_that_is_not_ours_names_nobody(header):
    assert Caller.from_header(header) is None


def test_a_header_is_bounded_and_carries_who_and_the_request_and_nothing_else():
    user = Actor("user", "a" * 1000, 7)
    notes = {"password": "very-secret"}
    caller = Caller.of(Circumstances(lambda: user, "req-12345678", user_agent="x", notes=notes))

    assert caller.as_header() == {
        "actor": {"type": "user", "name": "a" * 200, "userId": 7},
        "requestId": "req-12345678",
    }
    assert Caller.from_header(caller.as_header()).request_id == "req-12345678"


@pytest.fixture
def worker(committed_db, tmp_path):
    """A real worker on the real broker."""
    with open(tmp_path / "worker.log", "w") as log:
        process = subprocess.Popen(
            [*WORKER, "--pool", "prefork", "--concurrency", "1", "--include", __name__],
            stdout=log,
            stderr=log,
            env=os.environ | {"C_FORCE_ROOT": "1", "PYTHONPATH": str(ROOT)},
        )
    yield process
    process.terminate()
    process.wait(30)


def test_a_worker_makes_the_partition_that_is_missing(committed_db, worker):
    last = partitions._month_after(partitions.timezone.now().date().replace(day=1), 12)
    name = f"audit_log_{last:%Y_%m}"
    with connections["owner"].cursor() as cursor:
        cursor.execute(f"DROP TABLE {name}")

    make_partitions.delay()

    deadline = time.monotonic() + 60
    while not exists(name) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert exists(name), worker.poll()


def entries_of(request_id, count):
    """Wait for the worker's entries under this request id."""
    deadline = time.monotonic() + 60
    logs = AuditLog.objects.filter(request_id=request_id, actor_type="task").order_by("id")
    while logs.count() < count and time.monotonic() < deadline:
        time.sleep(0.1)
    return list(logs)


def test_a_worker_records_on_whose_behalf_and_under_the_callers_request(worker):
    user = Circumstances(lambda: Actor("user", "alice", 7), "request-of-alice")

    with in_circumstances(user):
        record_something.delay()

    (log,) = entries_of("request-of-alice", 1)
    assert (log.actor_type, log.actor, log.user_id) == ("task", "tests.record_something", None)
    assert json.loads(log.details) == {"onBehalfOf": {"type": "user", "name": "alice", "userId": 7}}


def test_a_task_passes_on_for_whom_it_works(worker):
    with acting_as(Actor("command", "root: manage.py x"), "command-12345678"):
        pass_on.delay()

    (log,) = entries_of("command-12345678", 1)
    assert log.actor == "tests.record_something"
    assert json.loads(log.details)["onBehalfOf"] == {
        "type": "command",
        "name": "root: manage.py x",
        "userId": None,
    }


def test_without_a_caller_the_tasks_id_is_the_request_id(worker):
    enqueued = record_something.delay()

    (log,) = entries_of(enqueued.id, 1)
    assert log.details == ""


def exists(table):
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass(%s) IS NOT NULL", [table])
        return cursor.fetchone()[0]

import os
import subprocess
import sys
import time

import pytest
from celery import shared_task
from django.db import connection, connections

import audit
from audit.ledger import partitions
from audit.models import AuditLog
from audit.tasks import make_partitions


@shared_task(name="tests.record_something")
def record_something():
    audit.record("START", resource="/bot/7")


@pytest.mark.django_db
def test_what_a_task_records_is_recorded_as_done_by_the_task():
    record_something.apply(task_id="task-12345678")

    log = AuditLog.objects.get()
    assert (log.actor_type, log.actor) == ("task", "tests.record_something")
    assert log.request_id == "task-12345678"


@pytest.fixture
def worker(committed_db, tmp_path):
    """A real worker on the real broker."""
    with open(tmp_path / "worker.log", "w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "compliance_site", "worker", "--pool", "solo"],
            stdout=log,
            stderr=log,
            env=os.environ | {"C_FORCE_ROOT": "1"},
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


def exists(table):
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass(%s) IS NOT NULL", [table])
        return cursor.fetchone()[0]

"""A process killed while PostgreSQL commits what it replayed leaves nothing stored twice."""

import subprocess
import sys
import time

import pytest
from django.db import connection, connections

from audit.capture import writer
from audit.capture.copy_rows import spool_line
from audit.capture.spool import Spool
from audit.models import AuditLog
from tests.conftest import NOW

REPLAY = """
import django
django.setup()
from audit.capture import writer
writer.replay_spool()
"""
# Commits only a while after all rows have arrived, whether their sender lives or not.
SLOW_COMMIT = """
CREATE FUNCTION wait_a_while() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN PERFORM pg_sleep(2); RETURN NULL; END $$;
CREATE TRIGGER wait_a_while AFTER INSERT ON audit_log
FOR EACH STATEMENT EXECUTE FUNCTION wait_a_while();
"""
COMMITTING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"


@pytest.fixture
def spool_path(committed_db, settings):
    """A spool with entries, in front of a database that takes its time."""
    with connections["owner"].cursor() as cursor:
        cursor.execute(SLOW_COMMIT)
    spool = Spool(settings.AUDIT_SPOOL)
    logs = [
        AuditLog(
            created_at=NOW,
            event_id=f"event-{number}",
            actor_type="user",
            action="READ",
            resource=f"/{number}",
        )
        for number in range(20)
    ]
    spool.append([spool_line(log) for log in logs])
    spool.close()
    return settings.AUDIT_SPOOL


def kill_while_it_replays():
    with subprocess.Popen([sys.executable, "-c", REPLAY]) as process:
        deadline = time.monotonic() + 30
        while committing() == 0:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.kill()


def committing():
    with connection.cursor() as cursor:
        cursor.execute(COMMITTING)
        return cursor.fetchone()[0]


def stored():
    logs = AuditLog.objects.filter(resource__startswith="/").order_by("id")
    return [log.resource for log in logs]


def test_the_next_process_with_the_same_file_stores_nothing_twice(spool_path):
    kill_while_it_replays()
    assert committing() == 1

    writer.replay_spool()

    assert stored() == [f"/{number}" for number in range(20)]


def test_a_process_that_takes_the_file_over_stores_nothing_twice(spool_path):
    # As long as another process lives, the first file is its own.
    left = spool_path.read_bytes()
    spool_path.unlink()
    living = Spool(spool_path)
    assert living.is_empty()
    spool_path.with_name("entries.1").write_bytes(left)
    kill_while_it_replays()
    living.close()
    assert committing() == 1

    writer.replay_spool()

    assert stored() == [f"/{number}" for number in range(20)]

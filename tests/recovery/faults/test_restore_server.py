"""A server of the test's own: killed while a restore is at work, held by what no session ends."""

import os
import shutil
import signal
import tempfile
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg
import pytest

from compliance_site.foundation import embedded
from compliance_site.foundation.deadline import deadline
from compliance_site.foundation.embedded import postgres
from compliance_site.foundation.embedded.home import find_home
from recovery.backups import source
from recovery.exceptions import RefusedError
from recovery.restore import plan, run, state, undo
from recovery.restore import rows as counting
from recovery.restore.plan import Level
from recovery.restore.state import Step
from tests.recovery.shop import url_of
from tests.services import FAST, MARK

OPTIONS = FAST | {
    "max_connections": "40",
    "shared_buffers": "16MB",
    "wal_level": "logical",
    "max_prepared_transactions": "5",
}

pytestmark = pytest.mark.usefixtures("actor")


class Server:
    """The shop's server, which is not the console's."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="restore-tests-"))
        self.folder.chmod(0o755)
        self.var = self.folder / "var"
        self.binaries = find_home(Path(os.environ[MARK])).path
        self.admin_url = self.start()

    def start(self):
        found = embedded.start(self.var, postgres_options=OPTIONS, binaries=self.binaries)
        return found.admin_url

    def kill(self):
        """Kill -9 the server and all its processes."""
        processes = self._processes()
        for process in processes:
            process.kill()
        psutil.wait_procs(processes, 10)

    def freeze(self):
        for process in self._processes():
            process.suspend()

    def thaw(self):
        for process in self._processes():
            process.resume()

    def _processes(self):
        postmaster = postgres.find(find_home(self.var))
        return [postmaster, *postmaster.children()]

    def remove(self):
        embedded.remove(self.var)
        shutil.rmtree(self.folder)


@pytest.fixture(scope="module")
def server():
    server = Server()
    yield server
    server.remove()


@pytest.fixture
def admin_url(server):
    return server.admin_url


@pytest.fixture
def rows(run_sql):
    return lambda name: run_sql(name, "SELECT count(*) FROM line")[0][0]


def test_a_server_killed_during_the_load_is_restored_when_it_is_back(
    worker, server, shop, backup, rows, run_sql
):
    pid = worker.ask("run", backup.id, "in load", signal.SIGSTOP).split()[1]
    server.kill()
    assert worker.ask("continue", pid).startswith("failed ")
    server.start()

    assert rows(shop.dbname) == 1001
    assert worker.ask("run", backup.id) == "done done"
    assert rows(shop.dbname) == 1000
    assert [each.step for each in state.every()] == [Step.DONE, Step.FAILED]
    left = run_sql("postgres", "SELECT count(*) FROM pg_database WHERE datname ~ '_restore_2'")
    assert left == [(0,)]


def test_a_server_killed_right_after_the_swap_has_the_restored_one(
    worker, server, shop, backup, rows
):
    pid = worker.ask("run", backup.id, "before swapped", signal.SIGSTOP).split()[1]
    server.kill()
    server.start()

    assert worker.ask("continue", pid) == "done done"
    assert rows(shop.dbname) == 1000


def test_a_prepared_transaction_refuses_plan_and_swap(shop, backup, admin_url, rows):
    with psycopg.connect(url_of(admin_url, shop.dbname), autocommit=True) as session:
        for statement in ("BEGIN", "DELETE FROM line", "PREPARE TRANSACTION 'till-tonight'"):
            session.execute(statement)
        made = plan.make(shop, source.find(backup.id))

        assert made.exit_code == 2
        with pytest.raises(RefusedError, match="till-tonight"):
            run.run(backup.id)
        assert rows(shop.dbname) == 1001
        session.execute("ROLLBACK PREPARED 'till-tonight'")
    assert run.run(backup.id).step is Step.DONE


def test_a_prepared_transaction_that_came_later_refuses_the_undo(shop, backup, admin_url, rows):
    done = run.run(backup.id)
    with psycopg.connect(url_of(admin_url, shop.dbname), autocommit=True) as session:
        for statement in ("BEGIN", "DELETE FROM line", "PREPARE TRANSACTION 'later'"):
            session.execute(statement)

        with pytest.raises(RefusedError, match="later"):
            undo.undo(done.id)
        assert rows(shop.dbname) == 1000
        session.execute("ROLLBACK PREPARED 'later'")
    assert undo.undo(done.id).step is Step.UNDONE


def test_a_logical_slot_stays_with_the_old_database_and_that_is_said(shop, backup, run_sql, rows):
    slot = f"slot_{shop.dbname}"
    create = f"SELECT pg_create_logical_replication_slot('{slot}', 'test_decoding')"
    run_sql(shop.dbname, create)

    made = plan.make(shop, source.find(backup.id))
    assert [
        (each.level, slot in each.text) for each in made.findings if each.subject == "slots"
    ] == [(Level.WARNING, True)]
    done = run.run(backup.id)

    of = run_sql(
        "postgres", f"SELECT database FROM pg_replication_slots WHERE slot_name = '{slot}'"
    )
    assert of == [(done.before,)]
    assert undo.discard(done.id) == done.before
    assert run_sql("postgres", "SELECT count(*) FROM pg_replication_slots") == [(0,)]


def test_a_server_that_freezes_while_rows_are_counted_is_left_and_that_is_said(
    server, shop, monkeypatch
):
    @contextmanager
    def frozen(descriptor, seconds):
        server.freeze()
        with deadline(descriptor, seconds):
            yield

    monkeypatch.setattr(counting, "deadline", frozen)
    monkeypatch.setattr(counting, "LONGEST_SECONDS", 1.0)
    try:
        found = counting.changes(shop, {})
    finally:
        server.thaw()

    assert found.notes == (
        "Which tables have more or fewer rows now cannot be told: "
        "the server did not answer within 1 s.",
    )

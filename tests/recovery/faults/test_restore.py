"""Restores, undos and verifications that are killed, cut off, refused and got in the way of."""

import contextlib
import signal

import psycopg
import pytest

from recovery.restore import scratch, state
from recovery.restore.state import Step
from tests.recovery.shop import url_of

RUN = [
    f"{word} {step}"
    for step in ("started", "unpacked", "loaded", "checked", "swapping", "swapped", "done")
    for word in ("before", "after")
]
WITHIN = ["in _refuse_foreign", "in make", "in load", "in analyze", "in give", "in differences"]
UNDO = ["before undoing", "after undoing", "before undone", "after undone", "in record_event"]
VERIFY = [*(point for point in WITHIN if point != "in analyze"), "in record_verified"]


@pytest.fixture
def rows(run_sql):
    return lambda name: run_sql(name, "SELECT count(*) FROM line")[0][0]


@pytest.fixture
def names(run_sql, shop):
    def found(*beginnings):
        every = run_sql("postgres", "SELECT datname FROM pg_database")
        return {name for (name,) in every if name.startswith(beginnings or shop.dbname)}

    return found


def test_a_restore_killed_at_every_step_leaves_the_live_database_serving(
    worker, shop, backup, busy, rows, names
):
    with busy(shop.dbname, threads=2, pause=0.05) as seen:
        for point in (*RUN, *WITHIN):
            assert worker.ask("run", backup.id, point) == "killed", point

            assert rows(shop.dbname) in (1000, 1001), point
            assert len(state.interrupted("shop")) <= 1, point

        assert worker.ask("run", backup.id) == "done done"

    print(f"longest time without an answer: {seen.longest_silence:.2f} s")
    assert seen.longest_silence < 5
    assert state.interrupted("shop") == []
    assert rows(shop.dbname) == 1000
    kept = {each.before for each in state.every() if each.step is Step.DONE}
    assert names() == {shop.dbname} | kept
    work = state.folder().parent / "work"
    assert not work.exists() or list(work.iterdir()) == []


def test_an_undo_killed_at_every_step_is_carried_on_or_taken_back(worker, shop, backup, busy, rows):
    with busy(shop.dbname, threads=2, pause=0.05) as seen:
        for point in UNDO:
            assert worker.ask("run", backup.id) == "done done"
            newest = state.every()[0].id
            assert worker.ask("undo", newest, point) == "killed", point
            assert rows(shop.dbname) in (1000, 1001), point
            answer = worker.ask("undo", newest)
            assert answer == "done undone" or "is undone" in answer, point
            assert rows(shop.dbname) == 1001, point

    assert seen.longest_silence < 5


def test_a_verification_killed_at_every_step_is_cleared_away_by_the_next(
    worker, shop, backup, rows, names
):
    for point in VERIFY:
        assert worker.ask("verify", backup.id, point) == "killed", point
        assert rows(shop.dbname) == 1001

    assert worker.ask("verify", backup.id) == "done verified-True"
    assert names("compliance_verify_") == set()
    assert list(scratch.folder().glob("compliance_verify_*")) == []


def test_a_loaded_restore_is_carried_on_without_loading_again(worker, shop, backup, rows, names):
    assert worker.ask("run", backup.id, "before checked") == "killed"
    interrupted = state.every()[0]
    assert interrupted.step is Step.LOADED

    assert worker.ask("resume", interrupted.id) == "done done"

    assert rows(shop.dbname) == 1000
    assert state.load(interrupted.id).beside_oid == interrupted.beside_oid


def test_a_console_killed_while_the_rename_waits_leaves_the_name_free(
    worker, shop, backup, admin_url, rows, run_sql
):
    """The server takes the renames back, or finishes them when the session goes in time."""
    with psycopg.connect(url_of(admin_url, shop.dbname)) as session:
        session.execute("SELECT 1")
        assert worker.ask("run", backup.id, "in rename") == "killed"
        assert state.every()[0].step is Step.SWAPPING
    # Whoever waited at the lock is told once that the name is another one's now.
    with contextlib.suppress(psycopg.OperationalError):
        rows(shop.dbname)
    assert rows(shop.dbname) in (1000, 1001)

    assert worker.ask("run", backup.id) == "done done"
    assert rows(shop.dbname) == 1000


def test_a_frozen_console_keeps_nobody_out(worker, shop, backup, rows):
    """Nothing that the server holds waits for the next word of this process."""
    answer = worker.ask("run", backup.id, "after swapping", signal.SIGSTOP)
    pid = answer.split()[1]

    assert rows(shop.dbname) == 1001
    assert worker.ask("continue", pid) == "done done"
    assert rows(shop.dbname) == 1000


def test_a_second_restore_is_refused_while_one_is_under_way(worker, start_worker, backup):
    pid = worker.ask("run", backup.id, "after unpacked", signal.SIGSTOP).split()[1]
    second = start_worker()

    assert second.ask("run", backup.id).startswith("failed BusyError Another restore is under way")
    other_machine = start_worker(RECOVERY_FOLDER=str(state.folder().parent / "elsewhere"))
    assert other_machine.ask("run", backup.id).startswith("failed BusyError Another console")

    assert worker.ask("continue", pid) == "done done"

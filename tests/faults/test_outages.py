"""Every request that was answered has exactly one entry, whatever was done meanwhile."""

import signal
import subprocess
import time

import httpx
import pytest

from compliance_site.foundation import embedded
from tests.faults.harness import Load, WholeConsole, account, signal_all


@pytest.fixture
def console():
    console = WholeConsole()
    console.start()
    yield console
    console.remove()


def test_killing_web_worker_and_supervisor_loses_nothing(console):
    with Load(console) as load:
        time.sleep(2)
        console.kill("granian")
        console.wait_until_healthy()
        time.sleep(1)
        console.kill("celery")
        time.sleep(1)
        console.kill_supervisor()
        console.start()
        time.sleep(2)

    account(console, load, "web, worker and supervisor killed")


def test_a_database_that_stops_at_once_loses_nothing(console):
    with Load(console) as load:
        time.sleep(2)
        signal_all(console.postgres()[:1], signal.SIGQUIT)
        time.sleep(4)
        embedded.start(console.var)
        time.sleep(4)

    account(console, load, "PostgreSQL stopped immediately")


def test_a_database_that_is_killed_and_a_web_server_too_lose_nothing(console):
    with Load(console) as load:
        time.sleep(2)
        signal_all(console.postgres(), signal.SIGKILL)
        time.sleep(3)
        console.kill("granian")
        console.wait_until_healthy()
        time.sleep(2)
        embedded.start(console.var)
        time.sleep(2)

    account(console, load, "PostgreSQL and web killed")


def test_a_database_that_freezes_counts_as_away_and_loses_nothing(console):
    with Load(console) as load:
        time.sleep(2)
        frozen = console.postgres()
        signal_all(frozen, signal.SIGSTOP)
        time.sleep(10)
        during = len(load.answered)
        time.sleep(10)
        still_answering = len(load.answered) - during
        signal_all(frozen, signal.SIGCONT)
        time.sleep(4)

    account(console, load, "PostgreSQL frozen for 20 s")
    assert still_answering > 100


def test_while_the_database_is_frozen_what_is_written_ahead_is_refused(console):
    change = f"http://127.0.0.1:{console.port}/admin/auth/user/add/"
    httpx.post(change)
    frozen = console.postgres()
    signal_all(frozen, signal.SIGSTOP)
    try:
        answer = httpx.post(change, timeout=30)
    finally:
        signal_all(frozen, signal.SIGCONT)

    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "audit_unavailable")


@pytest.mark.root_only
def test_a_full_spool_refuses_and_loses_nothing(tmp_path):
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", tmp_path], check=True)
    console = WholeConsole(AUDIT_SPOOL=str(tmp_path / "spool" / "entries"))
    try:
        console.start()
        with Load(console) as load:
            time.sleep(2)
            signal_all(console.postgres()[:1], signal.SIGQUIT)
            deadline = time.monotonic() + 40
            while not load.statuses[503] and time.monotonic() < deadline:
                time.sleep(0.2)
            embedded.start(console.var)
            time.sleep(4)
        account(console, load, "spool's disk full")
        assert load.statuses[503]
    finally:
        console.remove()
        subprocess.run(["umount", tmp_path], check=True)

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from compliance_site.foundation import embedded
from compliance_site.foundation.embedded import postgres, valkey
from compliance_site.foundation.embedded.home import find_home

USE = """
import sys, pathlib
from compliance_site.foundation import embedded
var, binaries = map(pathlib.Path, sys.argv[1:])
with embedded.running(var, postgres_options={"fsync": "off"}, binaries=binaries) as endpoints:
    print(endpoints.database_url, flush=True)
    sys.stdin.read()
"""


def pids(var):
    home = find_home(var)
    return [process and process.pid for process in (postgres.find(home), valkey.find(home))]


@pytest.fixture
def use(binaries):
    """Use the services from another process until its input closes; its first line is the address."""
    users = []

    def use(var):
        command = [sys.executable, "-c", USE, var, binaries]
        users.append(
            subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        )
        return users[-1]

    yield use
    for user in users:
        user.communicate()


def test_services_run_between_start_and_stop(var, start):
    endpoints = start(var)

    assert embedded.status(var) == embedded.Status(endpoints, running=True)

    embedded.stop(var)

    assert embedded.status(var) == embedded.Status(endpoints, running=False)
    assert pids(var) == [None, None]


def test_stop_without_a_start_does_nothing(var):
    embedded.stop(var)

    assert not (var / "services").exists()


def test_remove_leaves_neither_processes_nor_data(var, start):
    start(var)
    before = pids(var)

    embedded.remove(var)

    assert [psutil.pid_exists(pid) for pid in before] == [False, False]
    assert {path.suffix for path in var.iterdir()} == {".lock"}


def test_data_is_kept_between_runs(var, running, query, broker):
    with running(var) as endpoints:
        query(endpoints.owner_url, "CREATE TABLE kept AS SELECT 42 AS answer")
        with broker(endpoints) as client:
            client.rpush("celery", "a queued task")

    with running(var) as again:
        assert again == endpoints
        assert query(again.owner_url, "SELECT answer FROM kept") == [(42,)]
        with broker(again) as client:
            assert client.lrange("celery", 0, -1) == ["a queued task"]


def test_a_second_start_adopts_what_runs(var, start):
    start(var)
    first = pids(var)

    start(var)

    assert pids(var) == first


def test_the_last_of_two_users_stops_the_services(var, running, use):
    other = use(var)
    other.stdout.readline()

    with running(var):
        other.communicate()
        assert embedded.status(var).running

    assert pids(var) == [None, None]


def test_services_outlive_a_killed_user_and_the_next_one_stops_them(var, running, use):
    user = use(var)
    user.stdout.readline()
    first = pids(var)
    user.kill()
    user.wait()

    assert embedded.status(var).running
    with running(var):
        assert pids(var) == first
    assert pids(var) == [None, None]


def test_ctrl_c_in_the_terminal_does_not_reach_the_services(var, use):
    user = use(var)
    user.stdout.readline()
    home = find_home(var)

    groups = {os.getpgid(process.pid) for process in (postgres.find(home), valkey.find(home))}

    assert os.getpgid(user.pid) not in groups


def test_users_that_come_at_the_same_time_share_one_server(var, use):
    users = [use(var) for _ in range(3)]

    assert len({user.stdout.readline() for user in users}) == 1


def test_users_that_come_and_go_never_find_the_services_stopped(var, running, query):
    def come_and_go(_):
        with running(var) as endpoints:
            return query(endpoints.database_url, "SELECT 1")

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(come_and_go, range(9))) == [[(1,)]] * 9
    assert pids(var) == [None, None]


def test_a_service_moves_away_from_ports_that_a_foreigner_took(var, start, query, listen):
    before = embedded.endpoints(var)
    for url in (before.database_url, before.redis_url):
        listen(url)

    after = start(var)

    assert after == embedded.endpoints(var)
    assert {before.database_url, before.redis_url}.isdisjoint({after.database_url, after.redis_url})
    assert query(after.database_url, "SELECT 1") == [(1,)]


def test_a_start_after_the_file_was_lost_keeps_the_data(var, start, query):
    before = start(var)
    query(before.owner_url, "CREATE TABLE kept AS SELECT 42 AS answer")
    (var / "embedded.json").unlink()

    after = start(var)

    assert after != before
    assert query(after.owner_url, "SELECT answer FROM kept") == [(42,)]
    assert embedded.status(var).running


def test_no_process_shows_a_password(shared):
    """Neither in its arguments, for everybody to read, nor in its environment."""
    var, endpoints = shared
    passwords = [url.split("@")[0].rsplit(":", 1)[1] for url in vars(endpoints).values()]
    home = find_home(var)
    shown = ""
    for server in (postgres.find(home), valkey.find(home)):
        for process in (server, *server.children(recursive=True)):
            shown += " ".join(process.cmdline()) + str(process.environ())

    assert [password for password in passwords if password in shown] == []


def test_initdb_shows_no_password(var, start):
    seen = set()
    done = threading.Event()

    def watch():
        while not done.is_set():
            for process in psutil.process_iter(["cmdline"]):
                seen.update(process.info["cmdline"] or ())
            time.sleep(0.005)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        endpoints = start(var)
    finally:
        done.set()
        watcher.join()

    password = endpoints.admin_url.split("@")[0].rsplit(":", 1)[1]
    assert any("--pwfile" in argument for argument in seen)
    assert [argument for argument in seen if password in argument] == []


def test_a_server_that_cannot_start_shows_the_end_of_its_log(var, binaries):
    with pytest.raises(embedded.EmbeddedError, match=r"services/postgres\.log") as refused:
        embedded.start(
            var, postgres_options={"no_such_option": "1", "fsync": "off"}, binaries=binaries
        )

    assert 'unrecognized configuration parameter "no_such_option"' in str(refused.value)


def test_a_failed_start_leaves_nothing_that_blocks_the_next_one(var, binaries, start):
    with (
        pytest.raises(embedded.EmbeddedError),
        embedded.running(
            var, postgres_options={"no_such_option": "1", "fsync": "off"}, binaries=binaries
        ),
    ):
        pass

    start(var)

    assert embedded.status(var).running


def test_a_user_killed_while_initdb_runs_blocks_nobody(var, use, start):
    user = use(var)
    while not list(var.glob("services/initdb-*")):
        time.sleep(0.005)
    os.killpg(user.pid, signal.SIGKILL)
    user.wait()

    start(var)

    assert embedded.status(var).running

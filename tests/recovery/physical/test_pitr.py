import json
import os
import re
import shlex
import signal
import subprocess
import sys
from datetime import datetime, timedelta

import psycopg
import pytest

from compliance_site.foundation.embedded import processes
from recovery.exceptions import BusyError, RefusedError
from recovery.physical import pitr
from recovery.physical.engine import TargetKind
from tests.recovery.physical.lab import (
    LATEST,
    LONG_AGO,
    MANAGE,
    at,
    lsn,
    named,
    wait_until,
)

COUNT = "SELECT count(*) FROM row WHERE word = '{}'"


def add(lab, word, rows=10):
    lab.execute(f"INSERT INTO row (word) SELECT '{word}' FROM generate_series(1, {rows})")


def restore(lab, target):
    """Restore and stop again; return what the test asks the restored server."""
    return pitr.restore(lab.engine, target, lab.restore_folder(), lambda line: None)


def archived(lab):
    position = lab.position()
    wait_until(lambda: lab.archive.newest() >= position)


def test_a_time_a_position_a_named_point_and_the_latest_are_reached(lab):
    add(lab, "all")
    moment, position = lab.now(), lab.position()
    lab.execute("SELECT pg_create_restore_point('before all')")
    add(lab, "all", 5)
    archived(lab)

    targets = {"time": at(moment), "lsn": lsn(position), "name": named("before all")}
    outcomes = {kind: restore(lab, target) for kind, target in targets.items()}
    latest = restore(lab, LATEST)

    rows = {k: lab.restored_rows(o, COUNT.format("all")) for k, o in outcomes.items()}
    assert rows == {"time": [(10,)], "lsn": [(10,)], "name": [(10,)]}
    assert lab.restored_rows(latest, COUNT.format("all")) == [(15,)]
    assert {o.recovered.timeline for o in (*outcomes.values(), latest)} == {2}
    assert outcomes["time"].complete_until == moment
    assert outcomes["time"].behind_seconds is None
    assert latest.behind_seconds < 60
    assert outcomes["lsn"].recovered.position <= position
    for outcome in (*outcomes.values(), latest):
        assert not list(outcome.folder.glob("PITR_UNFINISHED"))


def test_an_idle_servers_moment_behind_the_last_commit_is_reached(lab):
    add(lab, "idle")
    archived(lab)
    moment, position = lab.now(), lab.position()

    by_time, by_position = restore(lab, at(moment)), restore(lab, lsn(position))

    assert lab.restored_rows(by_time, COUNT.format("idle")) == [(10,)]
    assert lab.restored_rows(by_position, COUNT.format("idle")) == [(10,)]


def test_a_target_outside_is_answered_with_what_is_covered_and_makes_nothing(lab):
    folder = lab.restore_folder()
    tomorrow = lab.now() + timedelta(days=1)

    for target in (at(LONG_AGO), at(tomorrow), lsn(1), lsn(2**60), named("never made")):
        with pytest.raises(RefusedError, match=r"not covered\. Covered: 20\d\d-.* to 20\d\d-.*/"):
            pitr.restore(lab.engine, target, folder, print)

    assert not folder.exists()


def test_a_point_made_twice_is_refused_with_its_places(lab):
    for _ in range(2):
        lab.execute("SELECT pg_create_restore_point('twice')")
    # A point alone is not flushed at once.
    add(lab, "twice")
    archived(lab)

    with pytest.raises(RefusedError, match=r"made more than once, at \S+/\S+, \S+/\S+:"):
        lab.engine.plan(named("twice"))


def test_a_folder_with_something_in_it_or_a_link_is_refused(lab):
    # A short path: that of the tests' own folders can be too long for the server's socket.
    place = lab.restore_folder()
    (place / "full").mkdir(parents=True)
    (place / "full" / "file").touch()
    (place / "link").symlink_to(lab.data)

    for into, reason in (
        (place / "full", "is not empty"),
        (lab.data, "is not empty"),
        (place / "link", "is no folder"),
        (place / "full" / "file", "is no folder"),
        (place / "none" / "folder", "there is no folder"),
        (place / ("x" * 100), "the path may have 80 bytes"),
    ):
        with pytest.raises(RefusedError, match=reason):
            pitr.restore(lab.engine, LATEST, into, print)

    assert (place / "full" / "file").exists()


def test_an_empty_folder_that_is_there_is_used(lab):
    folder = lab.restore_folder()
    folder.mkdir(mode=0o755)

    outcome = pitr.restore(lab.engine, LATEST, folder, print)

    assert outcome.folder == folder
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_restore_that_was_killed_can_be_run_again(lab):
    """Killed when the server replays already: the next run stops that one first."""
    add(lab, "killed")
    archived(lab)
    folder = lab.restore_folder()
    command = [
        sys.executable,
        MANAGE,
        "restore",
        "pitr",
        "--latest",
        "--into",
        folder,
        "--database",
        "lab",
    ]
    first = subprocess.Popen(command, env=lab.environment(), stderr=subprocess.DEVNULL)
    wait_until((folder / "PITR_UNFINISHED").exists)
    with pytest.raises(BusyError):
        pitr.restore(lab.engine, LATEST, folder, print)
    wait_until((folder / "pitr.log").exists)
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert (folder / "PITR_UNFINISHED").exists()

    outcome = pitr.restore(lab.engine, LATEST, folder, print)

    assert lab.restored_rows(outcome, COUNT.format("killed")) == [(10,)]
    assert not (folder / "PITR_UNFINISHED").exists()


def test_the_restored_server_has_none_of_the_old_ones_ties(lab):
    outcome = restore(lab, LATEST)

    query = """SELECT name, setting FROM pg_settings WHERE name IN ('archive_mode',
        'synchronous_standby_names', 'listen_addresses', 'max_logical_replication_workers')"""
    assert dict(lab.restored_rows(outcome, query)) == {
        "archive_mode": "off",
        "synchronous_standby_names": "",
        "listen_addresses": "127.0.0.1",
        "max_logical_replication_workers": "0",
    }


def test_the_printed_commands_stop_and_start_the_restored_server(lab, committed_db):
    add(lab, "printed")
    archived(lab)
    said = lab.manage(
        *("restore", "pitr", "--database", "lab", "--latest", "--into", lab.restore_folder())
    )
    printed = dict(re.findall(r"^  (stop it|start it again) +(.+)$", said.stdout, re.MULTILINE))
    port = int(re.search(r"127\.0\.0\.1:(\d+)", said.stdout)[1])
    url = lab.url.replace(f":{lab.port}/", f":{port}/")

    subprocess.run(shlex.split(printed["stop it"]), check=True, stdout=subprocess.DEVNULL)
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url)
    subprocess.run(shlex.split(printed["start it again"]), check=True, stdout=subprocess.DEVNULL)

    with psycopg.connect(url) as connection:
        assert connection.execute(COUNT.format("printed")).fetchall() == [(10,)]
        assert connection.execute("SHOW listen_addresses").fetchall() == [("127.0.0.1",)]


def test_the_time_that_a_restore_takes_is_not_told_as_loss(lab, committed_db):
    archived(lab)
    before = lab.now()

    said = lab.manage(
        *("restore", "pitr", "--database", "lab", "--latest", "--into", lab.restore_folder())
    )

    found = re.match(
        r"Restored to (\S+ \S+) \(\S+/\S+\), the last moment in the archive, "
        r"(\d+\.\d) s before this restore began\.\nWhat the server committed after that moment",
        said.stdout,
    )
    # The server was asked when the restore was planned, and everything was there.
    assert datetime.fromisoformat(found[1]) > before
    assert float(found[2]) == 0


def test_files_are_for_their_owner_alone(lab):
    made = [lab.archive.folder, *lab.archive.folder.rglob("*")]

    assert {oct(each.stat().st_mode & 0o077) for each in made} == {"0o0"}
    if os.geteuid() == 0:
        programs = [each for each in made if each.name[0].isdigit()]
        assert programs
        assert {each.stat().st_uid for each in programs} == {lab.account.uid}


def test_the_receivers_password_is_neither_in_arguments_nor_in_its_environment(lab):
    program = lab.pg_receivewal()

    shown = " ".join([*program.cmdline(), *program.environ().values()])
    assert lab.password not in shown
    assert "--synchronous" in program.cmdline()


def test_the_command_answers_with_one_json_object_or_a_sentence(lab, committed_db):
    add(lab, "command")
    moment = lab.now()
    archived(lab)
    folder = lab.restore_folder()
    done = lab.manage(
        "restore", "pitr", "--database", "lab", "--to", str(moment), "--into", folder, "--json"
    )
    refused = lab.manage(
        "restore", "pitr", "--database", "lab", "--to", "2001-01-01", "--into", lab.restore_folder()
    )
    nothing = lab.manage("restore", "pitr", "--database", "lab", "--into", lab.restore_folder())

    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    assert (answer["folder"], answer["timeline"], answer["behindSeconds"]) == (str(folder), 2, None)
    assert refused.returncode == 2
    assert "CommandError: 2001-01-01 00:00:00.000000+00 is not covered. Covered: " in refused.stderr
    assert "one of --to, --to-lsn, --to-name, --latest" in nothing.stderr


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({}, "one of --to"),
        ({"to": "2026-01-01", "latest": True}, "one of --to"),
        ({"to": "yesterday"}, "a time looks like"),
        ({"to_lsn": "0/0/0"}, "a position in the log looks like"),
        ({"to_name": "x" * 64}, "at most 63 bytes"),
        ({"to_name": "a\nb"}, "at most 63 bytes"),
    ],
)
def test_what_is_no_target_is_refused(given, reason):
    nothing = {"to": "", "to_lsn": "", "to_name": "", "latest": False}

    with pytest.raises(RefusedError, match=reason):
        pitr.parse_target(**nothing | given)


def test_a_time_without_an_offset_is_utc():
    target = pitr.parse_target(to="2026-11-23 14:30", to_lsn="", to_name="", latest=False)

    assert (target.kind, str(target)) == (TargetKind.TIME, "2026-11-23 14:30:00.000000+00")


@pytest.fixture(autouse=True)
def stop_restored(request):
    """One server after the other: each restored one would stay until the session ends."""
    yield
    if "lab" in request.fixturenames:
        lab = request.getfixturevalue("lab")
        for folder in lab.restored:
            if found := processes.find("postgres", str(folder)):
                processes.terminate(found, (signal.SIGQUIT, 10.0))

import shutil
import threading
from dataclasses import replace

import pytest

from recovery import physical
from recovery.databases import database
from recovery.exceptions import RefusedError
from recovery.physical import recovery_point, server
from recovery.physical.engine import time_text
from recovery.physical.recovery_point import current
from tests.recovery.physical.lab import SYSTEM, wait_until

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch):
    monkeypatch.setattr(recovery_point, "_looks", {})


def test_without_an_archive_there_is_no_status(settings):
    settings.WAL_ARCHIVE_PATH = None

    assert physical.status() is None


def test_what_cannot_be_read_is_a_problem_and_no_error(settings, tmp_path):
    settings.WAL_ARCHIVE_PATH = tmp_path

    found = physical.status()

    assert (found.recovery_point_at, found.recovery_point_age_seconds) == (None, None)
    assert "is no archive yet; `manage.py wal_archive run` begins one" in found.problems[0]


def test_what_is_to_be_typed_for_another_server_names_it(settings, own_lab):
    lab = own_lab(SYSTEM)
    settings.WAL_ARCHIVE_PATH = lab.archives
    settings.BACKUP_DATABASES = f"lab={lab.url}"
    run, create = "wal_archive --database lab run", "base_backup --database lab create"

    none_yet = physical.status("lab")
    with pytest.raises(RefusedError, match=f"Start `manage.py {run}` first"):
        lab.engine.back_up(incremental=False)
    lab.archive.claim(server.identify(lab.database))
    no_slot = current(lab.engine, lab.database)
    lab.receive()
    position = lab.position()
    wait_until(lambda: lab.archive.newest() >= position)
    received = current(lab.engine, lab.database)
    lab.stop_receiving()
    stopped = current(lab.engine, lab.database)

    assert none_yet.problems[0].endswith(f"no archive yet; `manage.py {run}` begins one.")
    assert f"for the archive: `manage.py {run}` makes it." in no_slot.problems[-1]
    assert received.problems == (f"There is no base backup: `manage.py {create}` makes one.",)
    assert stopped.problems[-1] == f"Nothing receives the log: start `manage.py {run}`."
    for command in (run, create):
        # They are taken as they are said: what is wrong is the setting that is not there.
        answer = lab.manage(*command.replace("lab", "lob").split())
        assert "No database of this name is configured. Did you mean lab?" in answer.stderr


def test_a_status_is_kept_for_some_seconds(settings, lab, monkeypatch):
    settings.WAL_ARCHIVE_PATH = lab.archives
    settings.BACKUP_DATABASES = f"lab={lab.url}"

    first, second = physical.status("lab"), physical.status("lab")

    assert first is second
    assert recovery_point.looks()["lab"].status is first
    assert (first.gaps, first.problems, first.receiving) == (0, (), True)
    assert first.recovery_point_age_seconds < 5
    assert first.last_base_backup_at == lab.engine.backups()[-1].finished_at


def test_a_frozen_server_does_not_hold_the_status(own_lab):
    lab = own_lab(SYSTEM)
    lab.receive()
    lab.engine.back_up(incremental=False)
    # The postmaster: the kernel still accepts for it.
    lab.process.suspend()
    try:
        found = current(lab.engine, lab.database)
    finally:
        lab.process.resume()

    assert found.receiving is None
    assert found.recovery_point_at is not None
    assert any("no connection" in each or "not answer" in each for each in found.problems)


def test_an_archive_that_falls_far_behind_a_receiver_that_hangs_is_a_problem(own_lab, monkeypatch):
    lab = own_lab(SYSTEM)
    lab.receive()
    lab.engine.back_up(incremental=False)
    lab.caught_up()
    before = current(lab.engine, lab.database)
    monkeypatch.setattr(recovery_point, "LONGEST_BEHIND_SECONDS", 0.0)
    lab.pg_receivewal().suspend()
    lab.execute("CREATE TABLE not_archived (n int)")

    found = current(lab.engine, lab.database)

    assert before.problems == ()
    assert found.receiving is True
    assert found.problems == ("The archive is 0 minutes behind the server.",)


def lose_a_segment(lab):
    """Remove a segment from the archive that has some behind it; return its name."""
    for _ in range(3):
        lab.execute("SELECT pg_logical_emit_message(false, 'x', 'y')")
        lab.execute("SELECT pg_switch_wal()")
    position = lab.position()
    wait_until(lambda: lab.archive.newest() >= position)
    lost = sorted(each for each in lab.archive.wal.iterdir() if len(each.name) == 24)[-2]
    lost.unlink()
    return lost.name


def test_a_gap_is_a_problem_until_a_base_backup_is_made_and_a_warning_then(own_lab):
    lab = own_lab(SYSTEM)
    lab.receive()
    lab.engine.back_up(incremental=False)
    first = lose_a_segment(lab)
    with_gap = current(lab.engine, lab.database)
    lab.engine.back_up(incremental=False)
    ended = current(lab.engine, lab.database)
    before, behind = lab.engine.covered()
    second = lose_a_segment(lab)
    again = current(lab.engine, lab.database)
    checked = lab.manage("wal_archive", "check", "--database", "lab")

    assert with_gap.problems == (f"The log has a gap. {first}: missing",)
    assert with_gap.warnings == ()
    assert (ended.gaps, ended.problems) == (1, ())
    (warning,) = ended.warnings
    span = f"between {time_text(before.until_at)} and {time_text(behind.since_at)} can be gone"
    assert span in warning
    assert again.problems == (f"The log has a gap. {second}: missing",)
    assert again.warnings == ended.warnings
    assert checked.returncode == 1
    assert f"WARNING: {warning}" in checked.stdout
    # Without the backup before it, nobody misses what was lost.
    shutil.rmtree(lab.archive.base / lab.engine.backups()[0].id)
    assert current(lab.engine, lab.database).warnings == ()


def test_those_who_ask_at_once_wait_for_one_look(settings, lab, monkeypatch):
    settings.WAL_ARCHIVE_PATH = lab.archives
    settings.BACKUP_DATABASES = f"lab={lab.url}"
    begun, go_on = [], threading.Event()

    def look(engine, server_of):
        begun.append(server_of.name)
        assert go_on.wait(30)
        return real(engine, server_of)

    real = recovery_point.look
    monkeypatch.setattr(recovery_point, "look", look)
    monkeypatch.setattr(recovery_point, "PATIENCE_SECONDS", 0.1)
    # Nothing is known in time, and nobody asks a second time.
    first, second = recovery_point.looks(), recovery_point.looks()
    go_on.set()

    assert first == second == {"console": None, "lab": None}
    assert physical.status("lab").problems == ()
    assert sorted(begun) == ["console", "lab"]


def test_the_web_servers_role_sees_whether_log_is_received(lab):
    """It has no administrator's rights, and its page and metrics say so all the same."""
    lab.execute("DROP ROLE IF EXISTS web")
    lab.execute(f"CREATE ROLE web LOGIN PASSWORD '{lab.password}'")

    found = server.observe(replace(lab.database, user="web"))

    assert found.receiving is True
    assert found.retained_bytes is not None


def test_of_a_server_known_by_name_only_the_archive_tells(settings, lab, monkeypatch):
    """So it is in docker-compose's web server, which has no administrator's password."""
    settings.WAL_ARCHIVE_PATH = lab.archives
    settings.BACKUP_DATABASES = ""
    settings.BACKUP_DATABASE_NAMES = ["lab"]
    lab.caught_up()

    found = physical.status("lab")
    monkeypatch.setattr(recovery_point, "LONGEST_BEHIND_SECONDS", 0.0)
    behind = current(lab.engine, database("lab"))

    assert (found.problems, found.receiving) == ((), None)
    assert 0 < found.recovery_point_age_seconds < 60
    assert behind.problems == ("The archive is 0 minutes behind the server.",)

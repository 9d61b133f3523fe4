"""Base backups of the built-in engine: full, incremental, kept and removed; and several timelines."""

import json
import os
import re
import shutil
from datetime import timedelta

import pytest

from audit.models import Action, AuditLog
from recovery.exceptions import BusyError, DamagedError, RefusedError, UnknownBackupError
from recovery.physical import base_files, pitr, retention
from recovery.physical.accounts import run
from recovery.physical.recovery_point import current
from recovery.physical.server import asking, make_slot
from tests.recovery.physical.lab import LATEST, SYSTEM, WHEEL, at, wait_until


def archived(lab):
    position = lab.position()
    wait_until(lambda: lab.archive.newest() >= position)


def test_an_incremental_backup_is_put_together_with_what_it_builds_on(own_lab):
    lab = own_lab(18, summarize_wal="on")
    lab.receive()
    lab.execute("CREATE TABLE row AS SELECT g AS n FROM generate_series(1, 10000) g")
    full = lab.engine.back_up(incremental=False)
    lab.execute("INSERT INTO row VALUES (10001)")
    first = lab.engine.back_up(incremental=True)
    lab.execute("INSERT INTO row VALUES (10002)")
    second = lab.engine.back_up(incremental=True)
    lab.execute("INSERT INTO row VALUES (10003)")
    archived(lab)

    outcome = pitr.restore(lab.engine, LATEST, lab.restore_folder(), print)

    assert [first.parent, second.parent] == [full.id, first.id]
    assert second.size_bytes < full.size_bytes / 2
    assert outcome.plan.backup.id == second.id
    assert outcome.plan.bytes_needed > full.size_bytes
    assert lab.restored_rows(outcome, "SELECT count(*), max(n) FROM row") == [(10003, 10003)]
    with pytest.raises(RefusedError, match=f"{first.id} builds on {full.id}"):
        base_files.remove(lab.archive, full.id)
    shutil.rmtree(lab.archive.base / first.id)
    faults = [each.fault for each in lab.engine.backups()]
    assert faults == [
        "",
        "its files are not there",
        f"builds on {first.id}, which is damaged",
    ]
    assert lab.engine.plan(LATEST).backup.id == full.id


def test_what_an_incremental_backup_needs_is_said(own_lab):
    old, new = own_lab(SYSTEM), own_lab(WHEEL)
    for each in (old, new):
        each.receive()

    wanted = "need PostgreSQL 17" if SYSTEM < 17 else "summarize_wal = on"
    with pytest.raises(RefusedError, match=wanted):
        old.engine.back_up(incremental=True)
    with pytest.raises(RefusedError, match="summarize_wal = on"):
        new.engine.back_up(incremental=True)
    new.execute("ALTER SYSTEM SET summarize_wal = on")
    new.execute("SELECT pg_reload_conf()")
    wait_until(lambda: new.execute("SHOW summarize_wal") == [("on",)])
    with pytest.raises(RefusedError, match="no base backup that an incremental one"):
        new.engine.back_up(incremental=True)


def test_a_base_backup_without_a_receiver_is_refused(own_lab):
    lab = own_lab(SYSTEM)

    with pytest.raises(RefusedError, match="nothing receives it"):
        lab.engine.back_up(incremental=False)


def test_tablespaces_are_refused(own_lab):
    lab = own_lab(SYSTEM)
    lab.receive()
    place = lab.folder / "space"
    place.mkdir()
    lab.account.own(place)
    lab.execute(f"CREATE TABLESPACE space LOCATION '{place}'")

    with pytest.raises(RefusedError, match="1 tablespaces of its own"):
        lab.engine.back_up(incremental=False)
    assert list(lab.archive.base.iterdir()) == []


def test_one_base_backup_at_a_time_and_leftovers_go(lab):
    lock = lab.archive.lock("base", "making or removing base backups")
    try:
        with pytest.raises(BusyError, match="Another process is making or removing base backups"):
            lab.engine.back_up(incremental=False)
    finally:
        os.close(lock)
    left = lab.archive.base / ".20260101T000000Z-abcdef.draft"
    left.mkdir()
    without_facts = lab.archive.base / "20260101T000000Z-abcdef"
    without_facts.mkdir()

    before = [each.id for each in lab.engine.backups()]
    made = lab.engine.back_up(incremental=False)

    assert without_facts.name not in before
    assert not left.exists()
    assert not without_facts.exists()
    assert lab.engine.backups()[-1] == made


@pytest.mark.parametrize("name", ["../../etc", "20260101T000000Z-abcdef/..", "", "x" * 300])
def test_a_hostile_id_is_unknown(lab, name):
    with pytest.raises(UnknownBackupError):
        base_files.remove(lab.archive, name)


def test_damaged_facts_make_a_backup_useless_and_are_told(lab):
    made = lab.engine.back_up(incremental=False)
    facts = lab.archive.base / f"{made.id}.json"
    kept = facts.read_bytes()
    try:
        facts.write_bytes(kept[:50])
        faults = {each.id: each.fault for each in lab.engine.backups()}
        assert faults[made.id] == "its facts are damaged"
        assert f"{made.id}: its facts are damaged" in lab.engine.check()
        assert lab.engine.plan(LATEST).backup.id != made.id
    finally:
        facts.write_bytes(kept)


def test_a_damaged_identity_is_said(lab, tmp_path):
    identity = lab.archive.folder / "archive.json"
    kept = identity.read_bytes()
    try:
        identity.write_bytes(b"[1]")
        with pytest.raises(DamagedError, match=r"archive\.json is damaged"):
            lab.engine.covered()
    finally:
        identity.write_bytes(kept)


def test_log_and_backups_go_when_nothing_needs_them(own_lab):
    lab = own_lab(SYSTEM)
    lab.receive()
    backups = []
    for _ in range(4):
        backups.append(lab.engine.back_up(incremental=False))
        lab.execute("SELECT pg_logical_emit_message(false, 'x', 'y')")
        lab.execute("SELECT pg_switch_wal()")
    archived(lab)
    later = lab.now() + timedelta(days=400)
    segments = [each.name for each in lab.archive.wal.iterdir()]

    kept_by_a_wrong_clock = retention.unneeded(lab.archive, 30, later)
    base_files.pin(lab.archive, backups[1].id, "the audit", lab.now())
    # Counted back from the newest: all but that and the one before it are older than no time.
    plan = retention.unneeded(lab.archive, 0, later)
    assert sorted(each.name for each in lab.archive.wal.iterdir()) == sorted(segments)
    retention.remove(lab.archive, plan)
    again = retention.unneeded(lab.archive, 0, later)

    assert kept_by_a_wrong_clock.backups == ()
    assert [each.id for each in plan.backups] == [backups[0].id]
    assert again == retention.Unneeded((), ())
    assert [each.id for each in lab.engine.backups()] == [each.id for each in backups[1:]]
    assert 0 < len(plan.segments) < len(segments)
    oldest = retention.oldest_needed(lab.engine.backups())
    assert oldest == backups[1].start
    with pytest.raises(RefusedError, match="is pinned"):
        base_files.remove(lab.archive, backups[1].id)
    assert lab.engine.check() == []
    outcome = pitr.restore(lab.engine, at(backups[1].finished_at), lab.restore_folder(), print)
    assert outcome.plan.backup.id == backups[1].id


def test_after_a_failover_the_archive_goes_on_with_the_new_timeline(own_lab):
    """The standby is promoted, and the same archive receives from it: one can go to both sides."""
    lab = own_lab(SYSTEM)
    lab.receive()
    lab.engine.back_up(incremental=False)
    lab.execute("CREATE TABLE row AS SELECT 'old primary' AS word")
    moment = lab.now()
    archived(lab)
    standby = Standby(lab)
    lab.stop_receiving()
    lab.kill()
    standby.promote()
    lab.receive()
    lab.execute("INSERT INTO row VALUES ('new primary')")
    archived(lab)

    found = current(lab.engine, lab.database)
    before = pitr.restore(lab.engine, at(moment), lab.restore_folder(), print)
    latest = pitr.restore(lab.engine, LATEST, lab.restore_folder(), print)

    assert (found.gaps, found.problems) == (0, ())
    assert "the server was promoted at" in lab.receiver_log()
    assert lab.engine.covered()[-1].timeline == 2
    words = "SELECT word FROM row ORDER BY 1 DESC"
    assert lab.restored_rows(before, words) == [("old primary",)]
    assert lab.restored_rows(latest, words) == [("old primary",), ("new primary",)]
    assert latest.recovered.timeline == 3


def test_without_the_timelines_history_the_archive_says_so(own_lab):
    lab = own_lab(SYSTEM)
    lab.receive()
    lab.engine.back_up(incremental=False)
    standby = Standby(lab)
    lab.stop_receiving()
    lab.kill()
    standby.promote()
    lab.receive()
    lab.execute("CREATE TABLE row AS SELECT 1")
    archived(lab)
    history = lab.archive.wal / "00000002.history"
    history.rename(lab.folder / "history")

    problems = lab.engine.check()

    assert any("00000002.history, which tells where" in each for each in problems)
    assert lab.engine.covered() == []


def test_prune_shows_first_and_removes_when_told(own_lab, committed_db):
    lab = own_lab(SYSTEM)
    lab.receive()
    made = [lab.engine.back_up(incremental=False) for _ in range(3)]
    for each in made:
        facts = lab.archive.base / f"{each.id}.json"
        body = json.loads(facts.read_text())
        days = (len(made) - made.index(each)) * 40
        body["finishedAt"] = (each.finished_at - timedelta(days=days)).isoformat()
        facts.write_text(json.dumps(body))

    shown = lab.manage("base_backup", "--database", "lab", "prune")
    listed = lab.engine.backups()
    removed = lab.manage("base_backup", "--database", "lab", "prune", "--yes")
    again = lab.manage("base_backup", "--database", "lab", "prune")

    assert re.match(r"Would remove 1 base backup \(\d+\.\d MiB\) and \d+ segment", shown.stdout)
    assert f"\n  {made[0].id}  full\nNothing was removed: --yes does.\n" in shown.stdout
    assert len(listed) == 3
    assert removed.stdout.startswith("Removed 1 base backup (")
    assert again.stdout == "All base backups and all log are still needed.\n"
    assert [each.id for each in lab.engine.backups()] == [each.id for each in made[1:]]
    entry = AuditLog.objects.get(action=Action.PRUNE)
    assert entry.resource == f"/base-backups/{made[0].id}"


def test_the_commands_list_pin_and_prune(lab, committed_db):
    made = json.loads(
        lab.manage("base_backup", "--database", "lab", "create", "--json").stdout.splitlines()[-1]
    )

    pinned = lab.manage("base_backup", "--database", "lab", "pin", made["id"], "--reason", "kept")
    listed = lab.manage("base_backup", "--database", "lab", "list")
    refused = lab.manage("base_backup", "--database", "console", "prune", "--yes")
    unknown = lab.manage("base_backup", "--database", "lab", "pin", "../x", "--reason", "x")
    unpinned = lab.manage("base_backup", "--database", "lab", "unpin", made["id"])

    assert pinned.returncode == unpinned.returncode == 0, pinned.stderr
    header, *lines = listed.stdout.splitlines()
    assert re.fullmatch(r"ID +FINISHED \(UTC\) +KIND +SIZE", header)
    (line,) = [each for each in lines if each.startswith(made["id"])]
    assert re.search(r"  20[\d :-]{17}  full +\d+\.\d MiB  pinned$", line)
    assert "is no archive yet" in refused.stderr
    assert not (lab.archives / "console").exists()
    assert "CommandError: There is no base backup with this id." in unknown.stderr


class Standby:
    """A copy of a lab's server that takes over its port."""

    def __init__(self, lab):
        self.lab = lab
        self.data = lab.folder / "standby"
        run(
            [lab.programs.path("pg_basebackup"), f"--pgdata={self.data}", "--checkpoint=fast"],
            account=lab.account,
            database=lab.database,
        )

    def promote(self):
        """Start as what was a standby, then promote: in the old one's place, on its port."""
        lab = self.lab
        (self.data / "standby.signal").touch(mode=0o600)
        lab.account.own(self.data / "standby.signal")
        lab.data = self.data
        # Its own log is all there: nothing more to fetch from the one that was killed.
        lab.start()
        lab.execute("SELECT pg_promote(true, 60)")
        with asking(lab.database) as connection:
            connection.execute("CHECKPOINT")
        make_slot(lab.database)

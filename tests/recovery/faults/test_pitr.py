"""What the archive and a restore do when machines, disks and people do their worst."""

import json
import os
import shutil
import signal
import subprocess
import threading
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from recovery.exceptions import DamagedError, ProgramError, RefusedError
from recovery.physical import pitr
from recovery.physical.archive import Archive
from recovery.physical.builtin import BuiltIn
from recovery.physical.recovery_point import current
from recovery.physical.wal import lsn_text
from tests.recovery.physical.lab import LATEST, SYSTEM, WHEEL, Lab, at, lsn, wait_until

WRITERS = 4
VERSIONS = pytest.mark.parametrize("version", [SYSTEM, WHEEL])


class Writers:
    """Clients that insert a row after the other and note on another place what was acknowledged."""

    def __init__(self, lab):
        self.lab = lab
        self.acknowledged = {}
        self.threads = [threading.Thread(target=self.write, args=[n]) for n in range(WRITERS)]

    def start(self):
        for thread in self.threads:
            thread.start()

    def write(self, number):
        """Write until the server is gone."""
        with (
            suppress(psycopg.OperationalError),
            psycopg.connect(self.lab.url, autocommit=True) as connection,
        ):
            for count in range(1_000_000):
                row = f"{number}-{count}"
                connection.execute("INSERT INTO acknowledged VALUES (%s)", [row])
                self.acknowledged[row] = datetime.now(UTC)

    def join(self):
        for thread in self.threads:
            thread.join()


def drill(lab):
    """Kill the primary under load, delete its files, restore; return what was written and lost."""
    lab.receive()
    lab.execute("CREATE TABLE acknowledged (row text)")
    lab.engine.back_up(incremental=False)
    writers = Writers(lab)
    writers.start()
    wait_until(lambda: len(writers.acknowledged) > 2000)
    lab.kill()
    killed_at = datetime.now(UTC)
    shutil.rmtree(lab.data)
    writers.join()
    lab.pg_receivewal() and lab.pg_receivewal().kill()

    outcome = pitr.restore(lab.engine, LATEST, lab.restore_folder(), lambda line: None)

    survivors = {row for (row,) in lab.restored_rows(outcome, "SELECT row FROM acknowledged")}
    lost = [at for row, at in writers.acknowledged.items() if row not in survivors]
    point = max(0.0, (killed_at - min(lost)).total_seconds()) if lost else 0.0
    return len(writers.acknowledged), len(lost), point, outcome


@VERSIONS
def test_the_primary_is_destroyed_and_nothing_acknowledged_is_lost(own_lab, version):
    acknowledged, lost, point, outcome = drill(
        own_lab(version, synchronous_standby_names="compliance_wal_lab")
    )

    print(
        f"PostgreSQL {version}, archive as synchronous standby: acknowledged {acknowledged}, "
        f"lost {lost}, RPO {point:.3f} s, restored in {outcome.seconds:.2f} s"
    )
    assert (lost, point) == (0, 0.0)


@VERSIONS
def test_without_waiting_for_the_archive_next_to_nothing_is_lost(own_lab, version):
    acknowledged, lost, point, outcome = drill(own_lab(version))

    print(
        f"PostgreSQL {version}, archive not waited for: acknowledged {acknowledged}, "
        f"lost {lost}, RPO {point:.3f} s, restored in {outcome.seconds:.2f} s"
    )
    assert point < 1.0


def test_after_the_primary_is_gone_a_time_behind_the_last_sample_is_reached(own_lab):
    lab = own_lab()
    lab.receive()
    lab.engine.back_up(incremental=False)
    lab.execute("CREATE TABLE t AS SELECT 1")
    moment = lab.now()
    lab.execute("CREATE TABLE later AS SELECT 1")
    position = lab.position()
    wait_until(lambda: lab.archive.newest() >= position)
    lab.destroy()

    outcome = pitr.restore(lab.engine, at(moment), lab.restore_folder(), print)

    tables = "SELECT relname FROM pg_class WHERE relname IN ('t', 'later')"
    assert lab.restored_rows(outcome, tables) == [("t",)]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_receiver_that_is_killed_or_frozen_leaves_no_gap(own_lab, number):
    lab = own_lab()
    lab.receive()
    lab.engine.back_up(incremental=False)
    before = lab.now()
    program = lab.pg_receivewal()
    program.send_signal(number)
    write_segments(lab, 3)
    behind = current(lab.engine, lab.database)
    # As after the stall that makes the supervisor start another one.
    with suppress(Exception):
        program.kill()
    position = lab.position()
    wait_until(lambda: lab.archive.newest() >= position, 60)

    found = current(lab.engine, lab.database)
    assert behind.recovery_point_at < lab.now()
    assert behind.slot_retained_bytes > 30_000_000
    assert (found.gaps, found.problems) == (0, ())
    assert found.recovery_point_at > before
    assert found.recovery_point_age_seconds < 1


def test_a_frozen_receiver_makes_the_recovery_point_age_and_an_idle_server_does_not(own_lab):
    lab = own_lab()
    lab.receive()
    lab.engine.back_up(incremental=False)
    idle = current(lab.engine, lab.database)
    program = lab.pg_receivewal()
    program.suspend()
    try:
        lab.execute("CREATE TABLE t AS SELECT 1")
        first = current(lab.engine, lab.database)
        waited = lab.now()
        wait_until(lambda: lab.now() > waited + timedelta(seconds=1))
        second = current(lab.engine, lab.database)
    finally:
        program.resume()

    assert idle.recovery_point_age_seconds < 1
    assert second.recovery_point_age_seconds >= first.recovery_point_age_seconds + 1


def test_the_receiver_ends_with_its_parent(own_lab):
    lab = own_lab()
    parent = lab.receive()
    program = lab.pg_receivewal()

    parent.kill()

    parent.wait()
    program.wait(10)
    lab.receive()


def test_only_one_receives(own_lab):
    lab = own_lab()
    lab.receive()

    second = lab.manage("wal_archive", "run", "--database", "lab")

    assert second.returncode == 1
    assert "Another process is receiving log" in second.stderr


@pytest.mark.root_only
def test_a_full_archive_is_said_and_everything_is_there_once_there_is_room(own_lab):
    lab = own_lab()
    lab.archives.mkdir()
    with mounted(lab.archives, "size=192m"):
        lab.account.own(lab.archives)
        lab.receive()
        lab.engine.back_up(incremental=False)
        ballast = lab.archives / "ballast"
        ballast.write_bytes(bytes(shutil.disk_usage(lab.archives).free - 20_000_000))
        write_segments(lab, 3)
        wait_until(lambda: "No space left on device" in lab.receiver_log(), 60)
        behind = current(lab.engine, lab.database)
        ballast.unlink()
        position = lab.position()
        wait_until(lambda: lab.archive.newest() >= position)

        found = current(lab.engine, lab.database)
        lab.stop_receiving()
    assert behind.slot_retained_bytes > 10_000_000
    assert (found.gaps, found.problems) == (0, ())


@pytest.mark.root_only
def test_an_archive_that_cannot_be_written_is_said(own_lab):
    lab = own_lab()
    lab.archives.mkdir()
    with mounted(lab.archives, "ro"):
        refused = lab.manage("wal_archive", "run", "--database", "lab")

    assert refused.returncode == 1
    assert "WAL_ARCHIVE_PATH: " in refused.stderr
    assert "cannot be written (Read-only file system)" in refused.stderr


@pytest.mark.parametrize("damage", ["missing", "truncated", "of another segment"])
def test_a_damaged_segment_is_named_and_nothing_goes_beyond_it(archived_lab, damage):
    lab, moments = archived_lab
    segments = sorted(each for each in lab.archive.wal.iterdir() if len(each.name) == 24)
    victim = segments[len(segments) // 2]
    kept = victim.read_bytes()
    try:
        if damage == "missing":
            victim.unlink()
        elif damage == "truncated":
            victim.write_bytes(kept[:5_000_000])
        else:
            shutil.copyfile(segments[-1], victim)
        problems = lab.engine.check()
        covered = lab.engine.covered()
        with pytest.raises(RefusedError, match=r"is not covered\. Covered: ") as refused:
            pitr.restore(lab.engine, at(moments["end"]), lab.restore_folder(), print)
        with pytest.raises(RefusedError, match="has a gap before its end"):
            lab.engine.plan(LATEST)
        before = pitr.restore(lab.engine, lsn(covered[-1].until), lab.restore_folder(), print)
    finally:
        victim.write_bytes(kept)

    assert any(victim.name in each for each in problems)
    assert lsn_text(covered[-1].until) in str(refused.value)
    assert lab.restored_rows(before, "SELECT count(*) > 0 FROM filler") == [(True,)]
    assert lab.engine.check() == []


def test_a_segment_that_goes_missing_during_a_restore_ends_it(archived_lab):
    """PostgreSQL would take it for the end of the log and open with less."""
    lab, _ = archived_lab
    plan = lab.engine.plan(LATEST)
    segments = sorted(each for each in lab.archive.wal.iterdir() if len(each.name) == 24)
    victim = segments[len(segments) // 2]
    hidden = victim.with_name("hidden")
    folder = lab.restore_folder()

    def hide(line):
        if line.startswith("Replaying"):
            return
        victim.rename(hidden)

    original = lab.engine.lay_out
    lab.engine.lay_out = lambda *given: (original(*given), hide(""))[0]
    try:
        with pytest.raises(ProgramError, match="could not restore file"):
            pitr.restore(lab.engine, plan.target, folder, lambda line: None)
    finally:
        lab.engine.lay_out = original
        hidden.rename(victim)
    assert (folder / "PITR_UNFINISHED").exists()


def test_a_damaged_base_backup_is_refused(archived_lab):
    lab, _ = archived_lab
    backup = lab.engine.backups()[-1]
    victim = next((lab.archive.base / backup.id / "base").rglob("[0-9]*[0-9]"))
    kept = victim.read_bytes()
    try:
        victim.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
        with pytest.raises(DamagedError, match="checksum mismatch"):
            pitr.restore(lab.engine, LATEST, lab.restore_folder(), print)
    finally:
        victim.write_bytes(kept)


def test_another_servers_archive_is_refused(own_lab, archived_lab):
    lab, _ = archived_lab
    other = own_lab()
    engine = BuiltIn(other.database, Archive(lab.archive.folder))

    with pytest.raises(RefusedError, match="is the archive of another server"):
        engine.back_up(incremental=False)


def test_log_that_the_server_removed_is_a_gap_that_a_new_base_backup_ends(own_lab):
    lab = own_lab(max_slot_wal_keep_size="32MB", max_wal_size="32MB")
    lab.receive()
    lab.engine.back_up(incremental=False)
    lab.stop_receiving()
    write_segments(lab, 6)
    lab.execute("CHECKPOINT")
    lost = current(lab.engine, lab.database)
    lab.receive(wait=False)
    wait_until(lambda: "there is a GAP" in lab.receiver_log(), 60)
    position = lab.position()
    wait_until(lambda: lab.archive.newest() >= position, 60)
    with_gap = current(lab.engine, lab.database)
    with pytest.raises(RefusedError, match="has a gap before its end"):
        lab.engine.plan(LATEST)

    lab.engine.back_up(incremental=False)

    assert any("given up the slot" in each for each in lost.problems)
    assert with_gap.gaps == 1
    assert lab.engine.check() == []
    assert len(lab.engine.covered()) == 2
    outcome = pitr.restore(lab.engine, LATEST, lab.restore_folder(), print)
    assert lab.restored_rows(outcome, "SELECT count(*) FROM filler") == [(6,)]


def test_an_unlimited_slot_is_warned_of(own_lab):
    lab = own_lab(max_slot_wal_keep_size="-1")
    lab.receive()
    lab.engine.back_up(incremental=False)

    checked = lab.manage("wal_archive", "check", "--database", "lab", "--json")

    assert checked.returncode == 0, checked.stderr
    found = json.loads(checked.stdout.splitlines()[0])
    assert found["problems"] == []
    (warning,) = found["warnings"]
    assert "max_slot_wal_keep_size is unlimited" in warning
    assert "WARNING: max_slot_wal_keep_size is unlimited" in lab.receiver_log()


def test_too_small_a_disk_is_refused_before_anything_is_made(archived_lab):
    if os.geteuid() != 0:
        return
    lab, _ = archived_lab
    folder = lab.restore_folder()
    folder.mkdir()
    with mounted(folder, "size=4m"):
        with pytest.raises(RefusedError, match="bytes free; the base backup alone takes"):
            pitr.restore(lab.engine, LATEST, folder, print)
        assert list(folder.iterdir()) == []


@pytest.fixture(scope="session")
def archived_lab():
    """A server whose archive has some segments; tests put back what they damage."""
    lab = Lab(SYSTEM)
    lab.receive()
    lab.engine.back_up(incremental=False)
    write_segments(lab, 6)
    end = lab.now()
    position = lab.position()
    wait_until(lambda: lab.archive.newest() >= position)
    yield lab, {"end": end}
    lab.remove()


def write_segments(lab, count):
    """Fill segments, a commit in each."""
    lab.execute("CREATE TABLE IF NOT EXISTS filler (word text)")
    for _ in range(count):
        lab.execute("INSERT INTO filler VALUES ('x')")
        lab.execute("SELECT pg_logical_emit_message(false, 'filler', repeat('x', 9000000))")
        lab.execute("SELECT pg_switch_wal()")


@contextmanager
def mounted(folder, options):
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=True)
    try:
        yield
    finally:
        # Also when something still works in it.
        subprocess.run(["umount", "--lazy", folder], check=True)

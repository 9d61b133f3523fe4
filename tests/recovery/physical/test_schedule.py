"""Base backups that nobody asks for: what is due, what goes, and what a failure leaves alone."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from datetime import timedelta

import psutil
import pytest
from celery.schedules import crontab

from audit.models import Action, AuditLog
from compliance_site.celery import app
from compliance_site.foundation.embedded import processes
from compliance_site.foundation.notices.models import Notice
from recovery import tasks
from recovery.exceptions import BusyError, RefusedError, ServerAwayError, StoreError
from recovery.physical import base_backups, configured, copies, schedule
from recovery.physical.schedule import Due
from tests.recovery.physical.lab import MANAGE, SYSTEM, WHEEL, wait_until

DAY = timedelta(days=1)


@pytest.fixture
def served(db, settings, actor):
    """Configure a lab's server and archive for this process."""

    def serve(lab):
        settings.WAL_ARCHIVE_PATH = lab.archives
        settings.BACKUP_DATABASES = f"lab={lab.url}"
        return lab

    return serve


@pytest.fixture
def own(own_lab, served):
    """A server of the test's own with a receiver."""

    def make(version=SYSTEM, **options):
        lab = served(own_lab(version, **options))
        lab.receive()
        return lab

    return make


def events(action):
    rows = AuditLog.objects.filter(action=action, resource__startswith="/base-backups")
    return [json.loads(row.details) for row in rows.order_by("id")]


def test_a_full_one_is_due_each_week_and_an_incremental_one_each_day(lab):
    # Backups of other tests may have been made since.
    now = lab.engine.backups()[-1].finished_at
    each_day = Due.INCREMENTAL if lab.version >= 17 else Due.NOTHING

    assert schedule.due(lab.engine, now) == Due.NOTHING
    assert schedule.due(lab.engine, now + DAY) == each_day
    assert schedule.due(lab.engine, now + 6 * DAY) == each_day
    assert schedule.due(lab.engine, now + 7 * DAY) == Due.FULL


def test_a_backup_from_the_future_does_not_stand_in_for_one_of_today(lab):
    assert schedule.due(lab.engine, lab.now() - 40 * DAY) == Due.FULL


def test_without_incremental_ones_a_gap_makes_a_full_one_due(own):
    lab = own()
    lab.engine.back_up(incremental=False)
    for _ in range(3):
        lab.execute("SELECT pg_logical_emit_message(false, 'x', 'y')")
        lab.execute("SELECT pg_switch_wal()")
    position = lab.position()
    wait_until(lambda: lab.archive.newest() >= position)
    before = schedule.due(lab.engine, lab.now())
    whole = sorted(each for each in lab.archive.wal.iterdir() if len(each.name) == 24)
    whole[-2].unlink()

    assert before == Due.NOTHING
    assert schedule.due(lab.engine, lab.now()) == Due.FULL


def test_a_run_makes_what_is_due_removes_what_is_old_and_records_both(own, settings):
    lab = own(WHEEL, summarize_wal="on")
    settings.BACKUP_RETENTION_DAYS = 0
    old = [lab.engine.back_up(incremental=False) for _ in range(2)]

    schedule.run(lab.now() + 8 * DAY)
    first = lab.engine.backups()
    schedule.run(lab.now() + DAY)

    assert first[:-1] == old[1:]
    full, incremental = lab.engine.backups()
    assert (full.kind, incremental.kind, incremental.parent) == ("full", "incremental", full.id)
    made = [each for each in events(Action.BACKUP) if each["database"] == "lab"]
    assert [(each["kind"], each["success"]) for each in made] == [
        ("full", True),
        ("incremental", True),
    ]
    assert [each["database"] for each in events(Action.PRUNE)] == ["lab", "lab"]


def test_a_server_that_fails_is_told_of_once_a_day_and_the_others_get_theirs(own):
    lab = own()
    now = lab.now()

    # Nothing receives the console's own log.
    for moment in (now, now + timedelta(hours=1), now + DAY):
        schedule.run(moment)

    assert configured.servers() == ["console", "lab"]
    assert len(lab.engine.backups()) == 1
    subjects = Notice.objects.values_list("subject", flat=True)
    assert list(subjects) == ["Base backup of console failed"] * 2
    assert "Reason: A base backup is of no use without the log" in Notice.objects.first().body
    failed = [each for each in events(Action.BACKUP) if not each["success"]]
    assert [each["database"] for each in failed] == ["console"] * 3


def test_a_run_leaves_a_server_alone_where_one_is_being_made(own):
    lab = own()
    lab.engine.back_up(incremental=False)
    lock = lab.archive.lock("base", "making or removing base backups")
    try:
        schedule.run(lab.now() + 8 * DAY)
        with pytest.raises(BusyError, match="making or removing base backups"):
            base_backups.prune("lab", lab.now())
    finally:
        os.close(lock)

    assert len(lab.engine.backups()) == 1
    assert not Notice.objects.filter(subject__contains="lab").exists()
    assert not any(each["database"] == "lab" for each in events(Action.BACKUP))


def test_an_archive_that_cannot_be_written_is_a_failure_like_others(own):
    lab = own()
    # Root may write everywhere: the lock's place is taken.
    (lab.archive.folder / "base.lock").mkdir()

    with pytest.raises(StoreError, match=r"base\.lock cannot be written"):
        base_backups.create("lab", incremental=False)
    schedule.run(lab.now())

    assert Notice.objects.filter(subject="Base backup of lab failed").count() == 1


def test_a_killed_one_leaves_no_backup_and_the_next_run_clears_up(own):
    lab = own()
    command = [sys.executable, MANAGE, "base_backup", "--database", "lab", "create"]
    # What it would record goes nowhere near another test's log.
    elsewhere = {"DATABASE_URL": lab.url, "AUDIT_SPOOL": str(lab.folder / "spool")}
    killed = subprocess.Popen(command, env=lab.environment() | elsewhere)
    (draft,) = wait_until(lambda: list(lab.archive.base.glob(".*.draft")))
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    # What it had started may go on, and keeps others away until it ends.
    wait_until(lambda: processes.find("pg_basebackup", f"--pgdata={draft}") is None)
    left, listed = draft.is_dir(), lab.engine.backups()

    schedule.run(lab.now())

    assert left
    assert listed == []
    (made,) = lab.engine.backups()
    assert sorted(each.name for each in lab.archive.base.iterdir()) == [made.id, f"{made.id}.json"]
    assert lab.engine.check() == []


def test_a_server_that_freezes_while_it_is_copied_does_not_keep_the_worker(own, monkeypatch):
    lab = own()
    monkeypatch.setattr(copies, "LOOK_SECONDS", 0.1)
    monkeypatch.setattr(copies, "STUCK_SECONDS", 1.0)
    frozen = []

    def freeze():
        wait_until(lambda: list(lab.archive.base.glob(".*.draft")))
        # First the one that makes others.
        lab.process.suspend()
        frozen.extend([lab.process, *lab.process.children(recursive=True)])
        for process in frozen:
            with suppress(psutil.NoSuchProcess):
                process.suspend()

    thread = threading.Thread(target=freeze)
    thread.start()
    try:
        with pytest.raises(ServerAwayError, match="pg_basebackup wrote nothing for 0 minutes"):
            base_backups.create("lab", incremental=False)
    finally:
        thread.join()
        for process in frozen:
            with suppress(psutil.NoSuchProcess):
                process.resume()

    assert list(lab.archive.base.iterdir()) == []
    monkeypatch.undo()
    assert base_backups.create("lab", incremental=False) in lab.engine.backups()


def test_a_removal_that_was_killed_is_ended_by_the_next_one(own):
    lab = own()
    first = lab.engine.back_up(incremental=False)
    lab.engine.back_up(incremental=False)
    # A removal begins with the facts.
    (lab.archive.base / f"{first.id}.json").unlink()

    base_backups.prune("lab", lab.now())

    assert not (lab.archive.base / first.id).exists()
    assert len(lab.engine.backups()) == 1


def test_nothing_is_made_or_asked_when_it_is_switched_off(served, lab, settings):
    served(lab)
    settings.ENABLE_AUTOMATED_BACKUPS = False
    before = lab.engine.backups()

    tasks.make_base_backups()

    assert lab.engine.backups() == before
    assert not Notice.objects.exists()


@pytest.mark.django_db
def test_without_an_archive_nothing_is_made_or_told(settings, actor):
    settings.WAL_ARCHIVE_PATH = None

    tasks.make_base_backups()

    assert not Notice.objects.exists()


def test_beat_asks_each_night_for_a_task_that_exists(settings):
    entry = settings.CELERY_BEAT_SCHEDULE["recovery.heavy.base_backups"]

    assert entry["schedule"] == crontab(hour="0", minute="30")
    assert entry["task"] in app.tasks


def test_too_small_a_disk_is_refused_before_the_log_has_no_room(own, monkeypatch):
    lab = own()
    real = shutil.disk_usage(lab.archive.base)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: real._replace(free=1_000_000))

    with pytest.raises(RefusedError, match=r"976\.6 KiB free; the server's databases take"):
        lab.engine.back_up(incremental=False)

    assert list(lab.archive.base.iterdir()) == []

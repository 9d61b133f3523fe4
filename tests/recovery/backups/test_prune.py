import json
import os
import secrets
import signal
import subprocess
import sys
import textwrap
from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from audit.models import AuditLog
from recovery import stores, tasks
from recovery.backups import catalogue, lock, memory, pins, prune
from recovery.backups.create import create
from recovery.backups.manifest import DatabaseFacts, Manifest
from recovery.databases import database
from recovery.exceptions import BusyError, ConfigurationError
from recovery.models import Backup, BackupState

NOW = datetime.now(UTC)
DAY = timedelta(days=1)
FACTS = DatabaseFacts(
    server_version=180006,
    owner="postgres",
    encoding="UTF8",
    locale={"provider": "b"},
    settings=(),
    acl=(),
    comment="",
    connection_limit=-1,
    extensions={},
    roles=(),
    size_bytes=1000,
)


@pytest.fixture(autouse=True)
def only_days(settings):
    settings.BACKUP_RETENTION_DAYS = 30
    settings.BACKUP_KEEP_WEEKLY = settings.BACKUP_KEEP_MONTHLY = 0


def put(name, content):
    for store in stores.stores():
        with store.create(name) as sink:
            sink.write(content)
            sink.commit()


def store_backup(days_ago, name="console", *, verified=False):
    """Put a signed backup of that age into every store, as `create` leaves one."""
    taken_at = NOW - days_ago * DAY
    backup_id = f"{taken_at:%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
    manifest = Manifest(
        id=backup_id,
        database=name,
        dbname=name,
        kind="logical",
        taken_at=taken_at,
        finished_at=taken_at,
        file=f"{backup_id}.tar.age",
        size=6,
        sha256="0" * 64,
        recipients=(),
        program="pg_dump",
        facts=FACTS,
        tables=(),
    )
    put(f"{name}/{backup_id}.tar.age", b"sealed")
    put(f"{name}/{backup_id}.json", manifest.signed())
    catalogue.refresh(name)
    if verified:
        catalogue.record_verified(catalogue.find(backup_id), taken_at, {})
    return backup_id


@pytest.fixture
def make_backup(db, places, actor):
    return store_backup


def stored(place, name="console"):
    """The files of a place, and the ids in their names."""
    return {path.name.partition(".")[0] for path in (place / name).iterdir()}


def told(command, *options):
    """Run the command and return its JSON."""
    out = StringIO()
    call_command("backup", command, "--json", *options, stdout=out)
    return json.loads(out.getvalue().splitlines()[-1])


def test_a_dry_run_says_what_would_go_and_why_and_removes_nothing(make_backup, places):
    kept, old = make_backup(1, verified=True), make_backup(60)

    said = told("prune")

    assert said["dryRun"] is True
    assert [each["id"] for each in said["drop"]] == [old]
    assert said["drop"][0]["why"].startswith("59 days older than the newest; 30 days")
    assert (said["kept"], said["removed"], said["problems"]) == (1, [], [])
    assert all(stored(place) == {kept, old} for place in places)
    assert AuditLog.objects.filter(action="PRUNE").count() == 0


def test_what_no_rule_keeps_is_removed_from_every_store_and_recorded(make_backup, places):
    kept, old = make_backup(1, verified=True), make_backup(60, verified=True)

    said = told("prune", "--yes")

    assert said["removed"] == [old]
    assert all(stored(place) == {kept} for place in places)
    assert Backup.objects.get(pk=old).state == BackupState.REMOVED
    (entry,) = AuditLog.objects.filter(action="PRUNE")
    assert entry.resource == f"/backups/{old}"
    details = json.loads(entry.details)
    assert details["stores"] == [str(place) for place in places]
    assert details["why"].startswith("59 days older")
    assert told("prune", "--delete")["drop"] == []


def test_the_last_verified_stays_and_names_are_compared_whole(make_backup, settings):
    settings.BACKUP_DATABASES = " ".join(
        f"{name}=postgresql://u@127.0.0.1/{name}" for name in ("audit", "audit_archive")
    )
    verified, old = make_backup(900, "audit", verified=True), make_backup(60, "audit")
    other = make_backup(70, "audit_archive")
    newest = make_backup(1, "audit")

    assert told("prune", "--yes")["removed"] == [old]
    left = set(Backup.objects.stored().values_list("pk", flat=True))
    assert left == {verified, other, newest}


def test_pins_keep(make_backup):
    make_backup(1, verified=True)
    old = make_backup(60)
    pins.pin(catalogue.find(old), "before the migration")
    assert told("prune", "--yes")["drop"] == []

    pins.unpin(catalogue.find(old))
    assert told("prune", "--yes")["removed"] == [old]


def test_a_real_backup_is_explained(orders, settings):
    manifest = create(orders)

    (said,) = told("explain", manifest.id)["backups"]

    assert said == {
        "id": manifest.id,
        "database": "orders",
        "takenAt": manifest.taken_at.isoformat(),
        "size": manifest.size,
        "keep": True,
        "rules": ["nothing verified"],
        "why": "no backup of the database was restored and compared yet, so none is dropped",
    }


def test_explaining_an_unknown_backup_names_the_nearest(make_backup):
    known = make_backup(1)

    with pytest.raises(CommandError, match=f"Did you mean {known}"):
        call_command("backup", "explain", known[:-1] + "x")


def test_a_store_that_is_away_is_named_and_the_rest_goes_on(make_backup, places):
    make_backup(1, verified=True)
    old = make_backup(60)
    away = places[1].rename(places[1].with_name("unplugged"))
    places[1].write_text("no folder")

    with pytest.raises(CommandError, match=f"Not everything could be done. {places[1]}"):
        call_command("backup", "prune", "--yes")

    assert old not in stored(places[0])
    assert old in stored(away)
    assert Backup.objects.get(pk=old).state == BackupState.STORED
    places[1].unlink()
    away.rename(places[1])
    assert told("prune", "--yes")["removed"] == [old]
    assert old not in stored(places[1])


def test_what_only_a_store_that_is_away_has_verified_does_not_count(make_backup, places):
    reachable = make_backup(60, verified=True)
    newest = make_backup(1, verified=True)
    # The newest is in the second store only, and that is away.
    for path in list((places[0] / "console").glob(f"{newest}*")):
        path.unlink()
    catalogue.refresh()
    places[1].rename(places[1].with_name("unplugged"))
    places[1].write_text("no folder")

    plan = prune.plan()

    assert [each.is_kept for each in plan.decisions] == [True, True]
    assert reachable in {each.backup.id for each in plan.decisions}


def test_a_place_that_is_not_configured_stands_in_for_none_and_is_told(
    make_backup, places, settings
):
    kept, old = make_backup(40, verified=True), make_backup(90)
    newest = make_backup(1, verified=True)
    for path in list((places[0] / "console").glob(f"{newest}*")):
        path.unlink()
    catalogue.refresh()
    settings.BACKUP_STORAGE_PATH = [str(places[0])]

    pruned = prune.prune()

    # The newest and the last verified of those that can be had here, not the one that cannot.
    assert {each.backup.id: each.is_kept for each in pruned.plan.decisions} == {
        kept: True,
        old: False,
    }
    said = f"Backup {old} stays in {places[1]}, which is not in BACKUP_STORAGE_PATH."
    assert said in pruned.problems
    assert old in stored(places[1])
    assert Backup.objects.get(pk=newest).state == BackupState.STORED
    assert prune.prune().plan.dropped == ()


def test_a_backup_whose_manifest_does_not_open_is_left_alone(make_backup):
    make_backup(1, verified=True)
    old = make_backup(60)
    backup = Backup.objects.get(pk=old)
    backup.manifest = backup.manifest | {"size": 7}
    backup.save()

    plan = prune.plan()

    assert plan.dropped == ()
    assert f"Backup {old} is left alone: The manifest was changed" in " ".join(plan.problems)


def test_a_clock_forty_days_ahead_removes_nothing_that_was_not_due(make_backup):
    due, young = make_backup(40), make_backup(20, verified=True)
    make_backup(0)
    assert prune.prune(NOW + timedelta(minutes=1)).removed == [due]
    # The clock jumps, and the nightly backup is taken before anybody sees it.
    jumped = store_backup(-40, verified=True)

    later = prune.prune(NOW + 40 * DAY + timedelta(hours=1))

    assert later.removed == []
    words = {each.backup.id: each.words for each in later.plan.decisions}
    assert "only 20 of its 60 days are certain" in words[young]
    again = prune.prune(NOW + 41 * DAY)
    assert again.removed == []
    assert jumped in words


def test_a_clock_before_the_newest_backup_removes_nothing(make_backup):
    make_backup(0, verified=True)
    make_backup(60)

    pruned = prune.prune(NOW - timedelta(hours=1))

    assert pruned.removed == []
    assert "is before the newest backup" in pruned.plan.decisions[0].words


@pytest.mark.parametrize("text", ["", "{}", '{"ran_at": 1, "breaks": []}', "[" * 5000])
def test_a_damaged_memory_stops_pruning(make_backup, settings, text):
    file = settings.RECOVERY_FOLDER / "retention" / memory.FILE
    file.parent.mkdir(parents=True)
    file.write_text(text)

    with pytest.raises(ConfigurationError, match=r"memory.json is damaged: remove it"):
        prune.prune()


def test_one_prunes_at_a_time(make_backup, monkeypatch):
    monkeypatch.setattr("compliance_site.foundation.private_files.LOCK_SECONDS", 0.1)

    with memory.remembered(), pytest.raises(BusyError):
        prune.prune()


@pytest.mark.parametrize(
    ("setting", "value"), [("BACKUP_RETENTION_DAYS", 0), ("BACKUP_KEEP_WEEKLY", -1)]
)
def test_settings_that_make_no_sense_are_refused_by_name(make_backup, settings, setting, value):
    setattr(settings, setting, value)

    with pytest.raises(CommandError, match=setting):
        call_command("backup", "prune")


@pytest.mark.parametrize("value", ["0", "-3", "many"])
def test_the_console_does_not_start_with_them(value):
    environment = os.environ | {"BACKUP_RETENTION_DAYS": value}
    command = [sys.executable, "manage.py", "check"]

    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    assert result.returncode != 0
    assert "BACKUP_RETENTION_DAYS: " in result.stderr.splitlines()[-1]


KILLED = """
    import os, signal, django
    django.setup()
    from audit.capture.actors import Actor, acting_as
    from recovery.backups import prune
    from recovery.stores.local import LocalStore

    delete, seen = LocalStore.delete, []
    def killed(self, name):
        if name.endswith({before!r}):
            os.kill(os.getpid(), signal.SIGKILL)
        delete(self, name)
    LocalStore.delete = killed
    with acting_as(Actor("command", "killed")):
        prune.prune()
"""


@pytest.mark.parametrize("before", [".json", ".pin.json", ".verified.json", ".tar.age"])
def test_whatever_a_kill_leaves_the_next_run_removes(
    committed_db, places, actor, monkeypatch, settings, before
):
    kept, old = store_backup(1, verified=True), store_backup(60, verified=True)
    monkeypatch.setenv("BACKUP_STORAGE_PATH", ",".join(settings.BACKUP_STORAGE_PATH))
    monkeypatch.setenv("RECOVERY_FOLDER", str(settings.RECOVERY_FOLDER))
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "compliance_site.settings")
    for name in ("WEEKLY", "MONTHLY"):
        monkeypatch.setenv(f"BACKUP_KEEP_{name}", "0")

    program = textwrap.dedent(KILLED.format(before=before))
    killed = subprocess.run([sys.executable, "-c", program], check=False)

    assert killed.returncode == -signal.SIGKILL
    assert old in stored(places[0])
    assert prune.prune().problems == []
    assert all(stored(place) == {kept} for place in places)
    assert Backup.objects.get(pk=old).state == BackupState.REMOVED


@pytest.fixture
def orphan(make_backup):
    """A failed attempt of three days ago that left its sealed file."""
    backup_id = f"{NOW - 3 * DAY:%Y%m%dT%H%M%SZ}-0000aa"
    put(f"console/{backup_id}.tar.age", b"half")
    Backup.objects.create(pk=backup_id, database="console", state=BackupState.FAILED)
    return backup_id


def test_what_a_failed_attempt_left_goes_after_a_day(orphan, places):
    young = f"{NOW - DAY / 2:%Y%m%dT%H%M%SZ}-0000bb"
    put(f"console/{young}.tar.age", b"half")
    Backup.objects.create(pk=young, database="console", state=BackupState.FAILED)

    said = told("prune", "--yes")

    assert said["orphansRemoved"] == [f"{place}/console/{orphan}.tar.age" for place in places]
    assert all(stored(place) == {young} for place in places)


def test_nothing_is_taken_from_under_a_backup_that_is_being_made(orphan, places):
    with lock.held(database("console")):
        assert prune.prune().orphans == []

    assert all(stored(place) == {orphan} for place in places)


def test_a_backup_whose_manifest_somebody_else_took_away_is_left(make_backup, places):
    lost = make_backup(60, verified=True)
    make_backup(1, verified=True)
    for place in places:
        (place / "console" / f"{lost}.json").unlink()

    pruned = prune.prune()

    assert pruned.orphans == []
    assert f"{lost}.tar.age has no manifest, and not by our doing" in " ".join(pruned.problems)
    assert all(lost in stored(place) for place in places)


def lose(backup_id, places):
    for place in places:
        (place / "console" / f"{backup_id}.tar.age").unlink()
    catalogue.refresh()


def test_a_missing_backup_is_looked_for_until_retention_would_drop_it(make_backup, places):
    kept = make_backup(1, verified=True)
    young, old, pinned = make_backup(20), make_backup(60), make_backup(70)
    pins.pin(catalogue.find(pinned), "for the audit")
    for each in (young, old, pinned):
        lose(each, places)

    said = told("prune", "--yes")

    assert (said["removed"], said["kept"]) == ([old], 1)
    states = dict(Backup.objects.values_list("pk", "state"))
    assert states == {kept: "stored", young: "missing", old: "removed", pinned: "missing"}
    assert all(old not in stored(place) for place in places)


def test_a_missing_backup_stands_in_for_no_other(make_backup, places):
    """Ages count from the newest that is there."""
    old = make_backup(60)
    make_backup(55, verified=True)
    lose(make_backup(1), places)

    pruned = prune.prune()

    assert pruned.removed == []
    assert all(old in stored(place) for place in places)


def test_files_of_others_stay(make_backup, places):
    make_backup(1, verified=True)
    for name in ("README.txt", "notes.json", "20200101T000000Z-zzzzzz.tar.age"):
        (places[0] / "console" / name).write_text("mine")

    told("prune", "--yes")

    assert {"README", "notes", "20200101T000000Z-zzzzzz"} <= stored(places[0])


def test_the_daily_task_removes_and_leaves_all_alone_when_backups_are_not_automated(
    make_backup, settings, places
):
    kept, old = make_backup(1, verified=True), make_backup(60)
    settings.ENABLE_AUTOMATED_BACKUPS = False
    tasks.prune_backups()
    assert stored(places[0]) == {kept, old}

    settings.ENABLE_AUTOMATED_BACKUPS = True
    tasks.prune_backups()
    assert stored(places[0]) == {kept}


def test_the_task_says_in_the_log_why_nothing_was_pruned(make_backup, settings, caplog):
    settings.BACKUP_RETENTION_DAYS = 0

    tasks.prune_backups()

    assert "Backups were not pruned: BACKUP_RETENTION_DAYS" in caplog.text

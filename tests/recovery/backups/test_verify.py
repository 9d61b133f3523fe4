import json
import os
from pathlib import Path

import pyrage
import pytest
from django.core.management import CommandError, call_command

from audit.models import Action, AuditLog
from compliance_site.foundation.notices.models import Notice
from recovery.backups import catalogue, create, source, verify
from recovery.backups.details import details
from recovery.exceptions import RecoveryError, RefusedError
from recovery.models import Backup, Verification
from recovery.restore import beside, compare, plan, scratch
from recovery.tasks import verify_newest

pytestmark = pytest.mark.usefixtures("committed_db", "actor")


@pytest.fixture
def scratch_databases(run_sql, monkeypatch):
    """Return a look at those that are left of this test's; others verify on the same server."""
    made = set()
    make = beside.make
    monkeypatch.setattr(
        beside, "make", lambda target, facts: (made.add(target.dbname), make(target, facts))
    )

    def left():
        assert made
        return made & {name for (name,) in run_sql("postgres", "SELECT datname FROM pg_database")}

    return left


def test_a_good_backup_is_verified_and_only_that_makes_it_so(backup, scratch_databases):
    assert Backup.objects.get(pk=backup.id).verified_at is None

    report = verify.verify(backup.id)

    row = Verification.objects.get()
    assert (report.passed, row.passed, row.report) == (True, True, report.plain())
    assert report.rows == 1000
    assert list(report.steps) == [
        "unpacked and decrypted, every byte checked",
        "restored into a scratch database",
        "compared with the manifest",
    ]
    assert Backup.objects.get(pk=backup.id).verified_at
    assert source.find(backup.id).copies()[0].size(f"shop/{backup.id}.verified.json") > 0
    assert AuditLog.objects.get(action=Action.VERIFY).resource == f"/backups/{backup.id}"
    assert not scratch_databases()
    assert list(scratch.folder().iterdir()) == []


def test_a_difference_is_a_failure_that_people_are_told_of(
    backup,
    scratch_databases,
    monkeypatch,
):
    monkeypatch.setattr(compare, "differences", lambda *given, **options: ["public.line: 3 rows."])

    report = verify.verify(backup.id)

    assert report.passed is False
    assert "public.line: 3 rows." in report.reason
    assert Verification.objects.get().passed is False
    assert Backup.objects.get(pk=backup.id).verified_at is None
    assert "Verification of a backup of shop failed" in Notice.objects.get().subject
    assert not scratch_databases()


def test_what_could_not_be_tried_is_no_verdict(backup, monkeypatch):
    def full(folder, size):
        raise RefusedError("RECOVERY_FOLDER has 0 MB free.")

    monkeypatch.setattr(verify.contents, "require_room", full)

    with pytest.raises(RefusedError):
        verify.verify(backup.id)

    assert Verification.objects.get().passed is None
    assert "could not be done" in Notice.objects.get().subject


def test_every_copy_is_read(backup, backups_folder, settings, tmp_path):
    second = tmp_path / "second" / "shop"
    second.mkdir(parents=True)
    for path in (backups_folder / "shop").iterdir():
        (second / path.name).write_bytes(path.read_bytes())
    settings.BACKUP_STORAGE_PATH = (str(backups_folder), str(second.parent))
    verify.catalogue.refresh("shop")
    assert verify.verify(backup.id).passed

    with open(second / f"{backup.id}.tar.age", "r+b") as file:
        file.seek(500)
        file.write(b"damage")

    report = verify.verify(backup.id)
    assert report.passed is False
    assert report.reason.startswith(f"{second.parent}: The stored backup was changed")


def test_leftovers_of_killed_verifications_are_dropped_and_nothing_else(shop, backup, run_sql):
    left, foreign = "compliance_verify_" + "a" * 16, "compliance_verify_" + "b" * 16
    for name in (left, foreign):
        run_sql("postgres", f"CREATE DATABASE {name}")
    (scratch.folder() / left).write_text("shop")
    with scratch.scratch(shop) as (held, _):
        run_sql("postgres", f"CREATE DATABASE {held.dbname}")

        assert scratch.drop_leftovers(shop) == [left]
        there = {name for (name,) in run_sql("postgres", "SELECT datname FROM pg_database")}
        assert {held.dbname, foreign} <= there
        assert left not in there
    run_sql("postgres", f"DROP DATABASE {foreign}")


def test_a_file_that_names_no_scratch_database_drops_nothing(shop, run_sql):
    for name in (shop.dbname, "compliance_verify_x", "compliance_verify_" + "A" * 16):
        (scratch.folder() / name).write_text("shop")

    assert scratch.drop_leftovers(shop) == []
    assert run_sql(shop.dbname, "SELECT count(*) FROM line") == [(1000,)]


def test_the_command_ends_with_1_for_a_bad_backup(backup, capsys, monkeypatch):
    call_command("backup", "verify", backup.id, "--json")
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["passed"] is True

    monkeypatch.setattr(compare, "differences", lambda *given, **options: ["public.line: gone."])
    with pytest.raises(CommandError) as failure:
        call_command("backup", "verify", "--newest", "--json")
    assert failure.value.returncode == 1
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["passed"] is False


def test_tables_are_counted_alike_wherever_they_are_told(shop, backups_folder, run_sql, capsys):
    run_sql(shop.dbname, "CREATE SEQUENCE apart", "SELECT lo_from_bytea(0, '\\x00')")

    call_command("backup", "create", "shop")
    assert ", 1 tables, " in capsys.readouterr().out
    backup = Backup.objects.get()
    assert len(details(backup).tables) == 1
    steps = plan.make(shop, source.find(backup.pk)).steps
    assert "compare 1 tables with the manifest" in steps
    report = verify.verify(backup.pk)
    assert (report.passed, report.tables, report.rows) == (True, 1, 1000)


def test_all_that_never_were_are_verified_once(shop, backup, capsys):
    create.create(shop)

    call_command("backup", "verify", "--all-unverified")
    assert capsys.readouterr().out.count(" is verified: ") == 2

    call_command("backup", "verify", "--all-unverified")
    assert "There is nothing to verify." in capsys.readouterr().out


def test_the_task_verifies_the_newest(shop, backup):
    newest = create.create(shop)

    verify_newest()

    assert Verification.objects.get().backup_id == newest.id


def test_a_role_that_is_gone_is_said_and_the_rows_are_still_compared(shop, run_sql):
    role = f"role_{os.urandom(4).hex()}"
    run_sql(shop.dbname, f"CREATE ROLE {role}", f"ALTER TABLE line OWNER TO {role}")
    manifest = create.create(shop)
    run_sql(shop.dbname, "ALTER TABLE line OWNER TO CURRENT_USER", f"DROP ROLE {role}")

    report = verify.verify(manifest.id)

    assert report.passed, report.reason
    assert role in report.notes[0]


def test_a_backup_that_is_damaged_later_is_verified_no_more(backup, monkeypatch):
    """Or retention would keep it for the last that works, and let go of those that do."""
    verify.verify(backup.id)
    store = source.find(backup.id).copies()[0]
    monkeypatch.setattr(compare, "differences", lambda *given, **options: ["public.line: 3 rows."])

    verify.verify(backup.id)

    catalogue.refresh("shop")
    assert Backup.objects.get(pk=backup.id).verified_at is None
    assert f"shop/{backup.id}.verified.json" not in set(store.names("shop"))


def test_a_store_that_is_away_says_nothing_of_a_backup(backup):
    store = Path(source.find(backup.id).copies()[0].name)
    store.rename(store.with_name("unmounted"))

    with pytest.raises(RecoveryError):
        verify.verify(backup.id)

    assert Verification.objects.get().passed is None


def test_another_key_says_nothing_of_a_backup(backup, settings):
    verify.verify(backup.id)
    settings.BACKUP_IDENTITY = str(pyrage.x25519.Identity.generate())
    said = []

    assert verify.verify(backup.id, said.append).passed is False

    # A step is told when it is done.
    assert not any("decrypted" in line for line in said)
    assert Backup.objects.get(pk=backup.id).verified_at

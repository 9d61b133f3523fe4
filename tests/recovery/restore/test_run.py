import json
import secrets

import psycopg
import pyrage
import pytest
from django.db import OperationalError

from audit.models import Action, AuditLog
from recovery.backups import catalogue, contents, create
from recovery.exceptions import (
    BusyError,
    DamagedError,
    RefusedError,
    SealError,
    UnknownBackupError,
)
from recovery.restore import beside, compare, own_database, run, state, swap, undo
from recovery.restore.state import Asked, Step
from tests.recovery.shop import url_of

pytestmark = pytest.mark.usefixtures("committed_db", "actor")


@pytest.fixture
def rows(run_sql):
    return lambda name: run_sql(name, "SELECT count(*) FROM line")[0][0]


@pytest.fixture
def names(run_sql, shop):
    """Return the databases of the test's server that have to do with the shop."""

    def found():
        every = run_sql("postgres", "SELECT datname FROM pg_database")
        return {name for (name,) in every if name.startswith(shop.dbname)}

    return found


def test_a_restore_swaps_and_keeps_the_old_one_and_undo_puts_it_back(shop, backup, busy, rows):
    with busy(shop.dbname) as seen:
        done = run.run(backup.id)
        assert rows(shop.dbname) == 1000
        assert rows(done.before) == 1001

        undone = undo.undo(done.id)

    assert rows(shop.dbname) == 1001
    assert rows(undone.undone) == 1000
    assert (done.step, undone.step) == (Step.DONE, Step.UNDONE)
    assert seen.longest_silence < 5
    assert not done.work_folder.exists()
    recorded = AuditLog.objects.filter(action=Action.RESTORE).order_by("id")
    assert [entry.resource for entry in recorded] == [f"/backups/{backup.id}"] * 2
    assert json.loads(recorded[0].details)["keptAs"] == done.before


def test_what_no_dump_holds_comes_back_too(shop, backups_folder, run_sql, rows):
    role = f"clerk_{secrets.token_hex(4)}"
    name = shop.dbname
    run_sql(
        name,
        f"CREATE ROLE {role}",
        f"ALTER DATABASE {name} OWNER TO {role}",
        f"REVOKE ALL ON DATABASE {name} FROM PUBLIC",
        f"GRANT CONNECT ON DATABASE {name} TO {role} WITH GRANT OPTION",
        f"COMMENT ON DATABASE {name} IS 'the ''shop''s'",
        f"ALTER DATABASE {name} CONNECTION LIMIT 50",
        f'ALTER DATABASE {name} SET search_path = "$user", public, "odd, name"',
        f"ALTER DATABASE {name} SET default_transaction_read_only = on",
        f"ALTER ROLE {role} IN DATABASE {name} SET work_mem = '8MB'",
        f"ALTER DATABASE {name} SET app.signing_key = 'the-shops-own-key'",
    )
    manifest = create.create(shop)
    # Readable without a key, it names settings and holds no values.
    assert ("", "app.signing_key") in manifest.facts.settings
    assert "the-shops-own-key" not in manifest.signed().decode()

    done = run.run(manifest.id)

    facts = "SELECT pg_get_userbyid(datdba), datacl::text, datconnlimit, shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = '{}'"
    now, then = (run_sql("postgres", facts.format(each)) for each in (name, done.before))
    settings = "SELECT setrole, unnest(setconfig) FROM pg_db_role_setting s JOIN pg_database d ON d.oid = setdatabase WHERE datname = '{}' ORDER BY 1, 2"
    assert now == then
    assert run_sql("postgres", settings.format(name)) == run_sql(
        "postgres", settings.format(done.before)
    )
    for each in (name, done.before):
        run_sql("postgres", f'DROP DATABASE "{each}" WITH (FORCE)')
    run_sql("postgres", f"DROP ROLE {role}")


def test_a_database_that_is_gone_is_restored_under_its_name(shop, backup, run_sql, rows):
    run_sql("postgres", f"DROP DATABASE {shop.dbname}")

    done = run.run(backup.id)

    assert rows(shop.dbname) == 1000
    with pytest.raises(RefusedError, match="is not there any more"):
        undo.undo(done.id)


def test_a_second_restore_comes_on_top_and_only_the_newest_is_undone(shop, backup, names):
    first, second = run.run(backup.id), run.run(backup.id)

    with pytest.raises(RefusedError, match="another restore came after it"):
        undo.undo(first.id)
    undo.undo(second.id)
    undo.undo(first.id)

    assert names() == {shop.dbname, first.undone, second.undone}


def test_what_is_kept_goes_only_when_it_is_discarded(shop, backup, names, rows):
    done = run.run(backup.id)

    assert undo.discard(done.id) == done.before

    assert names() == {shop.dbname}
    assert rows(shop.dbname) == 1000
    with pytest.raises(RefusedError, match="keeps no database"):
        undo.discard(done.id)


def test_what_differs_from_the_manifest_never_becomes_live(shop, backup, names, rows, monkeypatch):
    monkeypatch.setattr(compare, "differences", lambda *given, **options: ["public.line: 3 rows."])

    with pytest.raises(DamagedError, match=r"public\.line: 3 rows"):
        run.run(backup.id)

    assert names() == {shop.dbname}
    assert rows(shop.dbname) == 1001
    failed = state.every()[0]
    assert (failed.step, failed.work_folder.exists()) == (Step.FAILED, False)


def test_a_changed_byte_is_found_before_anything_is_restored(shop, backup, backups_folder, names):
    stored = backups_folder / "shop" / f"{backup.id}.tar.age"
    with open(stored, "r+b") as file:
        file.seek(stored.stat().st_size // 2)
        byte = file.read(1)[0]
        file.seek(-1, 1)
        file.write(bytes([byte ^ 1]))

    with pytest.raises((DamagedError, RefusedError), match="cut off or changed"):
        run.run(backup.id)
    assert names() == {shop.dbname}


def test_a_damaged_copy_is_passed_over_for_a_whole_one(
    shop, backup, backups_folder, settings, tmp_path, rows
):
    second = tmp_path / "second" / "shop"
    second.mkdir(parents=True)
    for path in (backups_folder / "shop").iterdir():
        (second / path.name).write_bytes(path.read_bytes())
    settings.BACKUP_STORAGE_PATH = (str(backups_folder), str(second.parent))
    with open(backups_folder / "shop" / f"{backup.id}.tar.age", "r+b") as file:
        file.truncate(backup.size - 1000)
    catalogue.refresh("shop")
    run.run(backup.id)

    assert rows(shop.dbname) == 1000


def test_another_key_is_refused_by_the_plan(shop, backup, settings, names):
    settings.BACKUP_IDENTITY = str(pyrage.x25519.Identity.generate())

    with pytest.raises((RefusedError, SealError), match="BACKUP_IDENTITY"):
        run.run(backup.id)
    assert names() == {shop.dbname}


@pytest.mark.parametrize(
    "backup_id",
    ["", "../../etc/passwd", "20261123T020000Z-3f9ac1", "x" * 5000, "20261123T020000Z-3f9ac1\n"],
)
def test_an_id_that_is_none_is_refused(shop, backup_id):
    with pytest.raises(UnknownBackupError):
        run.run(backup_id)


@pytest.mark.parametrize("restore_id", ["", "../x", ".lock", "20261123T020000Z-3f9ac1"])
def test_a_restore_that_is_none_is_refused(shop, restore_id):
    with pytest.raises(state.UnknownRestoreError):
        undo.undo(restore_id)


def test_one_at_a_time(shop, backup, rows):
    with state.alone(), pytest.raises(BusyError, match="Another restore is under way"):
        run.run(backup.id)
    with swap.alone_on_server(shop), pytest.raises(BusyError, match="Another console"):
        run.run(backup.id)

    assert rows(shop.dbname) == 1001


def test_a_disk_that_is_too_full_is_said_first(shop, backup, names, monkeypatch):
    monkeypatch.setattr(contents, "SPARE", 1 << 60)

    with pytest.raises(RefusedError, match="RECOVERY_FOLDER has"):
        run.run(backup.id)
    assert names() == {shop.dbname}


def test_a_server_that_makes_no_database_leaves_the_live_one(shop, backup, names, monkeypatch):
    def refuse(database, facts):
        raise RefusedError("no")

    monkeypatch.setattr(beside, "make", refuse)

    with pytest.raises(RefusedError):
        run.run(backup.id)
    assert names() == {shop.dbname}


def test_a_console_that_is_away_keeps_no_other_database_from_being_restored(
    shop, backup, rows, monkeypatch
):
    def away(restore, **details):
        raise OperationalError("away")

    monkeypatch.setattr(own_database, "record_event", away)

    assert run.run(backup.id).step is Step.DONE
    assert rows(shop.dbname) == 1000


def test_looking_at_the_status_keeps_no_restore_from_beginning(shop, backup):
    assert not state.is_running()
    with state.alone():
        assert state.is_running()


def test_names_are_cut_by_bytes_and_stay_apart(settings, tmp_path):
    settings.RECOVERY_FOLDER = tmp_path
    restore = state.new("shop", "b", dbname="ä" * 31, actor="a")

    every = {restore.beside, restore.before, restore.undone}
    assert len(every) == 3
    assert all(len(name.encode()) <= 63 for name in every)


def test_a_state_that_is_no_state_is_said(settings, tmp_path):
    settings.RECOVERY_FOLDER = tmp_path
    (state.folder() / "20261123T020000Z-3f9ac1.json").write_text("{}")

    with pytest.raises(DamagedError, match="is damaged"):
        state.every()


def test_sessions_that_are_open_are_ended_and_come_back(shop, backup, admin_url):
    with psycopg.connect(url_of(admin_url, shop.dbname)) as session:
        session.execute("INSERT INTO line VALUES (2000, 'never committed')")
        run.run(backup.id)
        with pytest.raises(psycopg.OperationalError):
            session.execute("SELECT 1")


def test_one_that_is_begun_anew_keeps_who_asked_for_it(shop, backup):
    asked = Asked(7, "ana", "ben", "Rows were deleted.")
    interrupted = state.new("shop", backup.id, dbname=shop.dbname, actor="ben", asked=asked)
    interrupted.at(Step.STARTED)

    done = run.resume(interrupted.id)

    assert (done.step, done.asked) == (Step.DONE, asked)

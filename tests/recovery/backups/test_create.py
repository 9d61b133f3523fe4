import io
import secrets
import subprocess
import tarfile
from contextlib import contextmanager
from urllib.parse import urlsplit

import psycopg
import pytest
import time_machine
from celery.schedules import crontab

from compliance_site.celery import app
from compliance_site.foundation import master_key
from compliance_site.foundation.data_keys import data_key
from compliance_site.foundation.notices.models import Notice
from recovery import sealing
from recovery.backups import catalogue, requests, snapshot
from recovery.backups.create import create
from recovery.backups.progress import Progress
from recovery.databases import database
from recovery.exceptions import ConfigurationError, ProgramError, ServerAwayError
from recovery.models import Backup
from recovery.programs import programs_for
from recovery.stores.local import LocalStore
from recovery.tasks import backup_all


def test_a_backup_is_in_every_store_and_in_the_list(orders, places):
    manifest = create(orders)

    backup = Backup.objects.get()
    assert (backup.pk, backup.state, backup.size_bytes) == (manifest.id, "stored", manifest.size)
    assert backup.copies == {str(place): "" for place in places}
    assert catalogue.manifest_of(backup) == manifest
    for place in places:
        assert sorted(path.name for path in (place / "orders").iterdir()) == [
            f"{manifest.id}.json",
            f"{manifest.id}.tar.age",
        ]


def test_what_is_stored_restores_to_what_the_manifest_says(orders, make_database, tmp_path):
    manifest = create(orders)

    with (
        catalogue.open_stored(Backup.objects.get()) as stored,
        sealing.open_sealed(stored) as opened,
        tarfile.open(fileobj=opened, mode="r|") as archive,
    ):
        archive.extractall(tmp_path, filter="data")
    target = make_database("SELECT 1")
    restore = programs_for(orders.server_version).path("pg_restore")
    subprocess.run([restore, "--exit-on-error", "-d", target, tmp_path / "dump"], check=True)
    with psycopg.connect(target) as connection:
        found = snapshot.tables(connection)
    assert snapshot.differences(manifest.tables, found) == ()
    assert "CREATE ROLE" in (tmp_path / "globals.sql").read_text()
    assert {table.name: table.rows for table in manifest.tables} == {
        "customers": 500,
        "orders": 0,
        "orders_2026": 300,
        "orders_id_seq": snapshot.SEQUENCE,
        "pg_largeobject": 1,
    }


def test_each_backup_has_an_id_of_its_own_whatever_the_clock_does(orders):
    with time_machine.travel("2026-11-23 02:00:00Z", tick=True):
        made = [create(orders), create(orders)]
    with time_machine.travel("2027-01-02 02:00:00Z", tick=True):
        made.append(create(orders))
    with time_machine.travel("2026-11-23 01:00:00Z", tick=True):
        made.append(create(orders))

    assert [each.id[:14] for each in made] == [
        "20261123T02000",
        "20261123T02000",
        "20270102T02000",
        "20261123T01000",
    ]
    assert len({each.id for each in made}) == 4
    # The order is that of the database server's clock, which did not jump.
    assert [each.pk for each in Backup.objects.order_by("started_at")] == [each.id for each in made]
    assert [each.taken_at for each in made] == sorted(each.taken_at for each in made)
    assert catalogue.refresh() == ()


def test_a_server_that_is_away_is_a_failed_attempt(orders, settings):
    settings.BACKUP_DATABASES = "orders=postgresql://u:geheim@127.0.0.1:9/d"

    with pytest.raises(ServerAwayError):
        create(database("orders"))

    backup = Backup.objects.get()
    assert (backup.state, backup.database, backup.manifest) == ("failed", "orders", None)
    assert backup.reason.startswith("orders: no connection to 127.0.0.1:9")
    assert "geheim" not in backup.reason
    assert Notice.objects.get().subject == "Backup of orders failed"


def test_a_worker_logs_why_a_backup_failed(orders, settings, caplog):
    settings.BACKUP_DATABASES = "orders=postgresql://u:geheim@127.0.0.1:9/d"
    waiting = requests.request(database("orders"))

    assert requests.make(waiting.pk) is True

    said = f"Backup {waiting.pk} of orders failed: orders: no connection to 127.0.0.1:9 as u to d"
    assert [record.getMessage()[: len(said)] for record in caplog.records].count(said) == 1
    assert "geheim" not in caplog.text


def test_a_missing_key_is_a_failed_attempt_that_names_the_setting(orders, settings, places):
    settings.BACKUP_IDENTITY = ""

    with pytest.raises(ConfigurationError, match=r"BACKUP_IDENTITY .*age-keygen"):
        create(orders)

    assert Backup.objects.get().state == "failed"
    assert not places[0].exists()


def test_what_is_stored_but_reads_back_otherwise_does_not_count(orders, places, monkeypatch):
    open_truly = LocalStore.open

    @contextmanager
    def open_changed(store, name):
        with open_truly(store, name) as stream:
            yield io.BytesIO(b"other") if store.path == places[0] else stream

    monkeypatch.setattr(LocalStore, "open", open_changed)
    create(orders)

    assert Backup.objects.get().copies == {
        str(places[0]): f"{places[0]}: what was read back is not what was written.",
        str(places[1]): "",
    }
    assert list((places[0] / "orders").iterdir()) == []


def test_an_interrupted_one_says_so_and_leaves_no_file(orders, places, settings, monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(sealing, "seal", interrupt)
    with pytest.raises(KeyboardInterrupt):
        create(orders)

    assert Backup.objects.get().reason == "It was interrupted."
    assert list((places[0] / "orders").iterdir()) == []
    left = [path.name for path in (settings.RECOVERY_FOLDER / "backups").iterdir()]
    assert left == ["orders.lock"]


def test_a_file_whose_backup_died_before_its_manifest_is_removed_by_the_next(orders, places):
    first = create(orders)
    for place in places:
        (place / "orders" / f"{first.id}.json").unlink()
    Backup.objects.update(state="failed")
    (places[0] / "orders" / "20261123T020000Z-000001.tar.age").write_text("somebody else's")

    second = create(orders)

    assert sorted(path.name for path in (places[0] / "orders").iterdir()) == sorted(
        [f"{second.id}.json", f"{second.id}.tar.age", "20261123T020000Z-000001.tar.age"]
    )


def test_the_consoles_own_backup_names_the_keys_that_its_values_need(db, places, actor):
    data_key("fingerprints")

    manifest = create(database("console"))

    assert manifest.master_keys == (master_key.ring().current.id,)
    assert {"audit_log", "auth_user"} <= {table.name for table in manifest.tables}


def test_a_role_that_may_not_read_everything_is_told_what(orders, settings, administrator):
    role = f"reader_{secrets.token_hex(4)}"
    administrator(f"CREATE ROLE {role} LOGIN PASSWORD 'geheim'")
    url = urlsplit(settings.BACKUP_DATABASES.partition("=")[2])
    settings.BACKUP_DATABASES = (
        f"orders=postgresql://{role}:geheim@{url.hostname}:{url.port}{url.path}"
    )

    with pytest.raises(ProgramError, match=f"the role {role} may not read everything") as refusal:
        create(database("orders"))

    administrator(f"DROP ROLE {role}")
    assert "geheim" not in str(refusal.value)


def test_a_role_that_reads_everything_but_passwords_will_do(orders, settings, administrator):
    role = f"reader_{secrets.token_hex(4)}"
    administrator(f"CREATE ROLE {role} LOGIN PASSWORD 'geheim'")
    url = urlsplit(settings.BACKUP_DATABASES.partition("=")[2])
    with psycopg.connect(settings.BACKUP_DATABASES.partition("=")[2]) as connection:
        connection.execute("SELECT lo_unlink(oid) FROM pg_largeobject_metadata")
        for kind in ("TABLES", "SEQUENCES"):
            connection.execute(f"GRANT SELECT ON ALL {kind} IN SCHEMA public TO {role}")
    settings.BACKUP_DATABASES = (
        f"orders=postgresql://{role}:geheim@{url.hostname}:{url.port}{url.path}"
    )
    said = io.StringIO()

    create(database("orders"), progress=Progress(said))

    administrator(f"DROP DATABASE {orders.dbname} WITH (FORCE)", f"DROP ROLE {role}")
    assert f"Roles are kept without passwords: {role} may not read them." in said.getvalue()


def test_every_night_each_database_is_backed_up_whatever_happens_to_another(orders, settings):
    settings.BACKUP_DATABASES = f"away=postgresql://u:p@127.0.0.1:9/d {settings.BACKUP_DATABASES}"

    backup_all()

    states = dict(Backup.objects.values_list("database", "state"))
    assert states == {"console": "stored", "away": "failed", "orders": "stored"}


def test_at_two_in_the_morning_unless_it_is_switched_off(orders, settings):
    entry = settings.CELERY_BEAT_SCHEDULE["recovery.heavy.backup_all"]
    assert (entry["task"], entry["schedule"]) == (backup_all.name, crontab(hour="2", minute="0"))
    assert settings.CELERY_TIMEZONE == "UTC"

    settings.ENABLE_AUTOMATED_BACKUPS = False
    backup_all()

    assert not Backup.objects.exists()


def test_a_place_that_vanished_gets_nothing_and_the_others_do(orders, places, tmp_path):
    """Its disk is not mounted, say: a folder made in its place would be on another one."""
    create(orders)
    first, second = places
    first.rename(tmp_path / "elsewhere")

    made = create(orders)

    row = Backup.objects.get(pk=made.id)
    assert "is its disk not mounted?" in row.copies[str(first)]
    assert row.copies[str(second)] == ""
    assert not first.exists()


def test_the_broker_hands_no_heavy_task_out_twice():
    """It takes what is not acknowledged within an hour for lost; a large backup takes longer."""
    heavy = {name: task for name, task in app.tasks.items() if name.startswith("recovery.heavy.")}

    assert len(heavy) == 7
    assert not any(task.acks_late for task in heavy.values())

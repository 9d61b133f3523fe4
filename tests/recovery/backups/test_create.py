import subprocess
import tarfile

import psycopg

from recovery import sealing
from recovery.backups import catalogue, snapshot
from recovery.backups.create import create
from recovery.models import Backup
from recovery.programs import programs_for


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

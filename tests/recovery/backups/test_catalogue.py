import json
import os
import shutil
from datetime import UTC, datetime

import pytest

from compliance_site.foundation import master_key
from compliance_site.foundation.notices.models import Notice
from recovery.backups import catalogue, facts, index, missing, pins
from recovery.backups.create import create
from recovery.backups.missing import GONE, NO_FILE, REMOVED
from recovery.databases import database
from recovery.exceptions import (
    DamagedError,
    RefusedError,
    StoreError,
    UnknownBackupError,
)
from recovery.models import Backup, BackupState
from recovery.stores.local import LocalStore

pytestmark = pytest.mark.django_db


@pytest.fixture
def manifest(orders):
    return create(orders)


@pytest.fixture
def backup(manifest):
    return Backup.objects.get()


def forget():
    Backup.objects.all().delete()


def files(place):
    return sorted(path.name for path in (place / "orders").iterdir())


def test_a_lost_table_is_made_anew_from_the_stores(backup, places):
    catalogue.record_verified(backup, datetime(2026, 11, 23, 3, tzinfo=UTC), {"tables": 4})
    pins.pin(backup, "before the migration")
    forget()

    assert catalogue.refresh() == ()

    found = Backup.objects.get()
    assert (found.pk, found.state, found.database) == (backup.pk, "stored", "orders")
    assert found.verified_at == datetime(2026, 11, 23, 3, tzinfo=UTC)
    assert found.pin_reason == "before the migration"
    assert found.copies == {str(place): "" for place in places}
    assert catalogue.manifest_of(found) == catalogue.manifest_of(backup)


def test_refreshing_again_changes_nothing(backup):
    catalogue.refresh()
    before = list(Backup.objects.values())

    assert catalogue.refresh() == ()

    assert list(Backup.objects.values()) == before


def test_a_backup_taken_away_everywhere_is_missing_and_may_come_back(backup, places, tmp_path):
    shutil.move(places[0] / "orders", tmp_path / "kept")
    shutil.rmtree(places[1] / "orders")

    catalogue.refresh("orders")
    backup.refresh_from_db()
    assert backup.state == "missing"
    assert backup.copies == {str(place): GONE for place in places}

    shutil.move(tmp_path / "kept", places[0] / "orders")
    found = catalogue.find(backup.pk)
    assert found.state == "stored"
    assert found.copies == {str(places[0]): "", str(places[1]): GONE}


def test_people_are_told_once_of_what_is_missing(backup, places, tmp_path):
    for place in places:
        (place / "orders" / f"{backup.pk}.tar.age").rename(tmp_path / f"{place.name}.kept")

    catalogue.refresh()
    catalogue.refresh()

    notice = Notice.objects.get()
    assert notice.subject == "A backup of orders cannot be found any more"
    assert f"{backup.pk}: {places[0]}: {NO_FILE} {places[1]}: {NO_FILE}" in notice.body
    assert notice.urgency == "urgent"

    # A second time, it is told a second time.
    sealed = places[0] / "orders" / f"{backup.pk}.tar.age"
    (tmp_path / "first.kept").rename(sealed)
    catalogue.refresh()
    sealed.unlink()
    catalogue.refresh()
    assert Notice.objects.count() == 2


def test_one_notice_names_all_that_went_together(orders, places, monkeypatch):
    monkeypatch.setattr(missing, "MOST_NAMED", 1)
    made = [create(orders).id, create(orders).id]
    for place in places:
        shutil.rmtree(place / "orders")

    catalogue.refresh("orders")

    notice = Notice.objects.get()
    assert notice.subject == "2 backups of orders cannot be found any more"
    assert sum(each in notice.body for each in made) == 1
    assert "and 1 more" in notice.body


def test_what_comes_back_cut_off_stays_missing(backup, places):
    sealed = [place / "orders" / f"{backup.pk}.tar.age" for place in places]
    whole = sealed[0].read_bytes()
    for file in sealed:
        file.unlink()
    catalogue.refresh()
    sealed[0].write_bytes(whole[:100])

    problems = catalogue.refresh()

    assert f"100 bytes instead of {backup.size_bytes}" in problems[0]
    backup.refresh_from_db()
    assert backup.state == "missing"
    assert "" not in backup.copies.values()


def test_what_is_stored_while_the_stores_are_read_is_not_missing(
    orders, places, settings, monkeypatch
):
    settings.BACKUP_STORAGE_PATH = [str(places[0])]
    list_names, made = LocalStore.names, []

    def names(store, database):
        found = list(list_names(store, database))
        if not made:
            made.append("")
            made[0] = create(orders).id
        return found

    create(orders)
    monkeypatch.setattr(LocalStore, "names", names)
    catalogue.refresh("orders")

    assert Backup.objects.get(pk=made[0]).state == "stored"
    assert not Notice.objects.exists()


def test_what_retention_removes_while_a_list_is_made_is_not_missing(backup, places, monkeypatch):
    """It wrote its row after this look had read it: the row is not written over."""
    apply_facts = index._apply_facts

    def meanwhile(row, seen):
        Backup.objects.filter(pk=row.pk).update(
            state="removed", copies=dict.fromkeys(row.copies, REMOVED)
        )
        apply_facts(row, seen)

    monkeypatch.setattr(index, "_apply_facts", meanwhile)
    pins.pin(backup, "for a change that is to be saved")
    Backup.objects.filter(pk=backup.pk).update(pinned_at=None, pin_reason="")
    catalogue.refresh("orders")

    backup.refresh_from_db()
    assert (backup.state, backup.pin_reason) == ("removed", "")


def test_what_retention_removed_stays_removed(backup, places):
    for place in places:
        shutil.rmtree(place / "orders")
    Backup.objects.update(copies={str(places[0]): REMOVED, str(places[1]): ""})

    catalogue.refresh("orders")

    backup.refresh_from_db()
    assert backup.state == "removed"
    assert not Notice.objects.exists()


def test_a_restored_table_misses_nothing_that_was_removed_since(backup, places):
    for place in places:
        shutil.rmtree(place / "orders")

    catalogue.refresh(absent=BackupState.REMOVED)

    backup.refresh_from_db()
    assert backup.state == "removed"
    assert not Notice.objects.exists()


def test_a_missing_backup_may_be_unpinned(backup, places):
    pins.pin(backup, "keep")
    for place in places:
        shutil.rmtree(place / "orders")
    found = catalogue.find(backup.pk)
    catalogue.refresh()
    found.refresh_from_db()

    assert pins.unpin(found) == {}

    found.refresh_from_db()
    assert (found.state, found.pinned_at) == ("missing", None)


def test_a_store_that_does_not_answer_erases_nothing(backup, places):
    pins.pin(backup, "keep")
    shutil.rmtree(places[0])
    (places[1] / "orders" / f"{backup.pk}.pin.json").unlink()

    (problem,) = catalogue.refresh("orders")

    assert problem.startswith(f"{places[0]}: No such file or directory")
    backup.refresh_from_db()
    assert backup.state == "stored"
    assert backup.copies == {str(place): "" for place in places}
    assert backup.pin_reason == "keep"


def test_a_backup_without_its_manifest_or_its_file_is_none(backup, places):
    for place in places:
        (place / "orders" / f"{backup.pk}.tar.age").unlink()
    forget()

    catalogue.refresh()

    assert not Backup.objects.exists()


def test_a_file_that_is_too_short_is_not_listed(backup, places):
    for place in places:
        os.truncate(place / "orders" / f"{backup.pk}.tar.age", 100)
    forget()

    problems = catalogue.refresh()

    assert not Backup.objects.exists()
    assert len(problems) == 2
    assert f"100 bytes instead of {backup.size_bytes}" in problems[0]


def test_one_good_copy_is_enough(backup, places):
    os.truncate(places[0] / "orders" / f"{backup.pk}.tar.age", 100)
    forget()

    problems = catalogue.refresh()

    assert len(problems) == 1
    assert Backup.objects.get().pk == backup.pk


def hostile(place, backup_id, content):
    (place / "orders" / f"{backup_id}.json").write_bytes(content)
    (place / "orders" / f"{backup_id}.tar.age").write_bytes(b"x")


def test_what_nobody_signed_is_told_and_not_listed(backup, places):
    genuine = (places[0] / "orders" / f"{backup.pk}.json").read_bytes()
    forged = json.loads(genuine) | {"id": "20261123T020000Z-000001"}
    hostile(places[0], "20261123T020000Z-000001", json.dumps(forged).encode())
    hostile(places[0], "20261123T020000Z-000002", genuine)
    hostile(places[0], "20261123T020000Z-000003", b"[" * 100_000)
    hostile(places[0], "20261123T020000Z-000004", b"{}")
    hostile(places[0], "passwd", genuine)
    (places[0] / "orders" / "20261123T020000Z-000005.tar.age").write_bytes(b"x")

    problems = catalogue.refresh()

    assert [each.pk for each in Backup.objects.all()] == [backup.pk]
    said = {problem.rpartition("/")[2] for problem in problems}
    assert said == {
        "20261123T020000Z-000001: The manifest was changed: its signature does not fit.",
        "20261123T020000Z-000002: The manifest is that of another backup.",
        "20261123T020000Z-000003: The manifest is damaged: it is no signed JSON object.",
        "20261123T020000Z-000004: The manifest is damaged: it is no signed JSON object.",
    }


def test_a_manifest_that_is_too_long_is_not_read(backup, places, monkeypatch):
    monkeypatch.setattr(index, "LONGEST", 100)
    forget()

    assert "It is too long." in catalogue.refresh()[0]
    assert not Backup.objects.exists()


def test_a_manifest_of_another_console_is_told_with_its_key(backup, settings):
    forget()
    settings.COMPLIANCE_MASTER_KEY = master_key.MasterKey.new().key.hex()

    problems = catalogue.refresh()

    assert "signature cannot be checked" in problems[0]
    assert not Backup.objects.exists()


def test_a_fact_signed_for_another_backup_is_not_believed(backup, places):
    other = facts.signed("orders", "20261123T020000Z-000001", "pin", {"pinned_at": "2026-11-23"})
    (places[0] / "orders" / f"{backup.pk}.pin.json").write_bytes(other)

    (problem,) = catalogue.refresh()

    assert "It was signed for another backup." in problem
    backup.refresh_from_db()
    assert backup.pinned_at is None


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"signature": 1}', b"\xff" * 10])
def test_a_damaged_fact_is_an_error(content):
    with pytest.raises(DamagedError):
        facts.parse("orders", "20261123T020000Z-000001", "pin", content)


def test_an_id_nobody_knows_is_answered_with_the_nearest(backup):
    wrong = backup.pk[:-1] + ("0" if backup.pk[-1] != "0" else "1")

    with pytest.raises(UnknownBackupError, match=f"Did you mean {backup.pk}"):
        catalogue.find(wrong)
    assert catalogue.find(backup.pk) == backup


@pytest.mark.parametrize(
    "hostile_id", ["", "../../etc/passwd", "a" * 10_000, "%", "x\x00y", "1;--"]
)
def test_an_id_that_cannot_be_is_refused(hostile_id, places):
    with pytest.raises(UnknownBackupError, match="There is no backup with this id"):
        catalogue.find(hostile_id)


def test_the_first_store_that_gives_the_bytes_is_read(backup, places):
    (places[0] / "orders" / f"{backup.pk}.tar.age").unlink()

    with catalogue.open_stored(backup) as stream:
        assert len(stream.read()) == backup.size_bytes

    (places[1] / "orders" / f"{backup.pk}.tar.age").unlink()
    with (
        pytest.raises(StoreError, match=f"No store gives backup {backup.pk}.*No such file"),
        catalogue.open_stored(backup),
    ):
        pass


def test_a_pin_needs_a_reason_and_a_stored_backup(backup):
    for reason in ("", "  ", "a\nb", "x" * 201):
        with pytest.raises(RefusedError):
            pins.pin(backup, reason)
    backup.state = "failed"
    with pytest.raises(RefusedError, match="only a stored one"):
        pins.pin(backup, "keep")


def test_a_pin_lies_beside_every_copy_until_it_is_taken_away(backup, places):
    assert pins.pin(backup, "keep") == {}
    assert all(f"{backup.pk}.pin.json" in files(place) for place in places)

    assert pins.unpin(backup) == {}
    assert not any(f"{backup.pk}.pin.json" in files(place) for place in places)
    catalogue.refresh()
    backup.refresh_from_db()
    assert (backup.pinned_at, backup.pin_reason) == (None, "")


def test_a_store_that_cannot_be_told_is_named(backup, places):
    shutil.rmtree(places[0])
    (places[0]).write_text("not a folder")

    failures = pins.pin(backup, "keep")

    assert list(failures) == [str(places[0])]
    assert f"{backup.pk}.pin.json" in files(places[1])


def test_a_database_that_is_not_configured_any_more_keeps_its_backups(backup, settings):
    settings.BACKUP_DATABASES = ""

    assert catalogue.refresh() == ()

    backup.refresh_from_db()
    assert backup.state == "stored"
    assert database("console").is_console


def test_a_store_that_is_not_configured_erases_nothing(backup, settings, tmp_path):
    """A typing error in one command must not empty the table that all share."""
    known = Backup.objects.get(pk=backup.id)
    settings.BACKUP_STORAGE_PATH = [str(tmp_path / "typo")]
    (tmp_path / "typo").mkdir()

    catalogue.refresh("orders")

    found = Backup.objects.get(pk=backup.id)
    assert (found.state, found.copies) == (known.state, known.copies)

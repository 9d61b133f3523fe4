import io
import json
from datetime import datetime

import pytest
from django.core.management import CommandError, call_command

from compliance_site.foundation.notices.models import Notice
from recovery.backups import pins
from recovery.backups.cli import show
from recovery.backups.create import create
from recovery.backups.manifest import TableFacts
from recovery.backups.progress import size_text
from recovery.models import Backup

pytestmark = pytest.mark.django_db


@pytest.fixture
def backup(orders):
    create(orders)
    return Backup.objects.get()


def said(*arguments):
    output = io.StringIO()
    call_command("backup", *arguments, stdout=output, stderr=io.StringIO())
    return output.getvalue()


def test_a_sentence_says_what_was_made(orders):
    sentence = said("create", "orders")

    backup = Backup.objects.get()
    assert sentence.startswith(f"Backup {backup.pk} of orders: ")
    assert "3 tables" in sentence


def test_the_list_shows_size_places_checks_and_pins(backup, places):
    said("pin", backup.pk, "--reason", "before the migration")

    header, line, note = said("list").splitlines()

    assert header.split() == ["ID", "DATABASE", "BEGAN", "(UTC)", "SIZE", "STATE", "VERIFIED", "IN"]
    assert line.startswith(f"{backup.pk}  orders  ")
    size = size_text(backup.size_bytes)
    cells = {"BEGAN": f"{backup.started_at:%Y-%m-%d %H:%M:%S}", "STATE": "stored", "VERIFIED": "no"}
    assert all(line.index(cell) == header.index(name) for name, cell in cells.items())
    assert line.index(size) + len(size) == header.index("SIZE") + len("SIZE")
    assert line.endswith(f"  {places[0]}, {places[1]}")
    assert note == "    pinned: before the migration"
    said("unpin", backup.pk)
    assert len(said("list").splitlines()) == 2


def test_the_list_as_json_is_one_object(backup, places):
    shown = json.loads(said("list", "orders", "--json").splitlines()[-1])

    assert shown["problems"] == []
    (row,) = shown["backups"]
    assert (row["id"], row["state"], row["verifiedAt"]) == (backup.pk, "stored", None)
    assert row["copies"] == {str(place): "" for place in places}


def test_nothing_is_said_where_there_is_nothing(places):
    assert said("list").strip() == "There are no backups."


def test_show_tells_what_the_manifest_says(backup):
    shown = json.loads(said("show", backup.pk, "--json"))

    assert (shown["id"], shown["rows"], shown["tables"]) == (backup.pk, 800, 3)
    assert shown["program"].startswith("pg_dump (PostgreSQL)")


def test_show_is_for_people_unless_json_is_asked_for(backup, places):
    pins.pin(backup, "before the migration")
    shown = json.loads(said("show", backup.pk, "--json"))

    lines = said("show", backup.pk).splitlines()

    words = {line[:14].strip(): line[15:] for line in lines}
    assert words["sha256"] == shown["sha256"]
    assert words["size"] == size_text(shown["size"])
    assert words["database size"] == size_text(shown["databaseSize"])
    assert words["taken at"] == f"{datetime.fromisoformat(shown['takenAt']):%Y-%m-%d %H:%M:%S} UTC"
    assert words["copies"] == f"{places[0]}: there; {places[1]}: there"
    assert words["pinned at"].endswith(" UTC")
    assert words["verified at"] == "-"
    version = shown["serverVersion"]
    assert words["server version"] == f"{version // 10_000}.{version % 10_000}"


def test_large_numbers_are_grouped(backup, monkeypatch):
    tables = [TableFacts("public", "customers", 1_234_567, "")]
    monkeypatch.setattr(show, "only_tables", lambda counted: tables)

    assert "rows           1,234,567" in said("show", backup.pk)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("create", "order"), "Did you mean orders?"),
        (("show", "../../etc/passwd"), "There is no backup with this id"),
        (("pin", "20261123T020000Z-000000", "--reason", "x"), "There is no backup with this id"),
        (("list", "--nonsense"), "unrecognized arguments"),
        (("pin", "x"), "--reason"),
    ],
)
def test_what_cannot_be_is_told(orders, arguments, complaint):
    with pytest.raises(CommandError) as refusal:
        said(*arguments)
    assert complaint in str(refusal.value)


def test_the_help_has_examples_and_exit_codes(capsys):
    with pytest.raises(SystemExit):
        call_command("backup", "--help")
    shown = capsys.readouterr().out
    assert "examples:" in shown
    assert "exit codes:" in shown


def refused(*arguments):
    """Return what an unhappy command printed, and the sentence that it ended with."""
    output, errors = io.StringIO(), io.StringIO()
    with pytest.raises(CommandError) as ended:
        call_command("backup", *arguments, stdout=output, stderr=errors)
    assert ended.value.returncode == 1
    return output.getvalue(), errors.getvalue(), str(ended.value)


def test_a_store_that_cannot_be_read_is_told_beside_the_list(backup, places):
    (places[0] / "orders").rename(places[0] / "away")
    (places[0] / "orders").write_text("no folder")

    shown, errors, sentence = refused("list")

    assert backup.pk in shown
    assert f"{places[0]}: Not a directory" in errors
    assert sentence == "The list may be incomplete: not everything could be read."


def test_a_place_that_is_gone_ends_the_list_with_1_and_the_json_stays_last(backup, places):
    places[0].rename(places[0].with_name("unplugged"))

    shown, _, sentence = refused("list", "--json")

    last = json.loads(shown.splitlines()[-1])
    assert [each["id"] for each in last["backups"]] == [backup.pk]
    assert last["problems"][0].startswith(f"{places[0]}: No such file or directory")
    assert "may be incomplete" in sentence


def test_a_backup_that_somebody_took_away_is_still_listed(backup, places, caplog):
    for place in places:
        (place / "orders" / f"{backup.pk}.tar.age").unlink()

    shown, _, sentence = refused("list")

    assert f"missing: {places[0]}: Its sealed file is not there any more, its manifest is." in shown
    assert f"{places[1]}: Its sealed file" in shown
    assert Notice.objects.get().topic == "backup.missing"
    assert not caplog.records
    assert sentence == "Backups that are missing, and that retention did not remove: 1."
    last = json.loads(refused("list", "orders", "--json")[0].splitlines()[-1])
    assert [each["state"] for each in last["backups"]] == ["missing"]


def test_a_backup_that_one_place_lacks_is_told(backup, places):
    (places[1] / "orders" / f"{backup.pk}.json").unlink()

    shown, _, sentence = refused("list")

    assert f"not everywhere: {places[1]}: Its manifest is not there any more" in shown
    assert sentence == "Backups that a place had and has no more: 1."


def test_a_place_that_never_took_a_backup_is_named_and_no_reason_to_fail(backup, places):
    backup.copies[str(places[1])] = "It has no space left."
    backup.save()
    for suffix in (".json", ".tar.age"):
        (places[1] / "orders" / f"{backup.pk}{suffix}").unlink()

    assert f"not everywhere: {places[1]}: It has no space left." in said("list")


def test_a_place_that_is_configured_no_more_lacks_nothing(backup, places, settings):
    (places[1] / "orders" / f"{backup.pk}.json").unlink()
    refused("list")
    settings.BACKUP_STORAGE_PATH = [str(places[0])]

    assert backup.pk in said("list")


def test_the_list_of_an_unknown_database_names_the_nearest(orders):
    with pytest.raises(CommandError, match=r"No database of this name .* Did you mean orders\?"):
        said("list", "order")
    assert said("list", "orders").strip() == "There are no backups."


def test_a_database_that_is_configured_no_more_is_listed(backup, settings):
    settings.BACKUP_DATABASES = ""

    assert backup.pk in said("list", "orders")

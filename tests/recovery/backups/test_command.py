import io
import json

import pytest
from django.core.management import CommandError, call_command

from recovery.backups.create import create
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
    assert "5 tables" in sentence


def test_the_list_shows_size_places_checks_and_pins(backup, places):
    said("pin", backup.pk, "--reason", "before the migration")

    (line,) = said("list").splitlines()

    assert line.startswith(f"{backup.pk}  orders")
    assert f"{places[0]}, {places[1]}" in line
    assert line.endswith("(not verified, pinned: before the migration)")
    said("unpin", backup.pk)
    assert said("list").splitlines()[0].endswith("(not verified)")


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

    assert (shown["id"], shown["rows"], shown["tables"]) == (backup.pk, 801, 4)
    assert shown["program"].startswith("pg_dump (PostgreSQL)")
    assert f"{'sha256':<14} {shown['sha256']}" in said("show", backup.pk)


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


def test_a_store_that_cannot_be_read_is_told_beside_the_list(backup, places):
    (places[0] / "orders").rename(places[0] / "away")
    (places[0] / "orders").write_text("no folder")
    errors = io.StringIO()

    call_command("backup", "list", stdout=io.StringIO(), stderr=errors)

    assert f"{places[0]}: Not a directory" in errors.getvalue()

import json
import os
from io import StringIO
from pathlib import Path

import psycopg
import pytest
from django.core.management import CommandError, call_command

from audit.models import AuditLog
from compliance_site.foundation import master_key, rewrap
from compliance_site.foundation.data_keys import DataKey
from compliance_site.foundation.master_key import MasterKey
from compliance_site.foundation.secret_text import SecretText

MANAGE = Path(__file__).resolve().parents[2] / "manage.py"
LONG_AGO = (1_000_000_000, 1_000_000_000)


@pytest.fixture
def key_file(settings, tmp_path, monkeypatch):
    """A file of one key, for this process and for those that the test starts."""
    path = tmp_path / "master_key"
    path.write_text(MasterKey.new().text)
    path.chmod(0o600)
    settings.COMPLIANCE_MASTER_KEY, settings.COMPLIANCE_MASTER_KEY_FILE = "", path
    monkeypatch.delenv("COMPLIANCE_MASTER_KEY")
    monkeypatch.setenv("COMPLIANCE_MASTER_KEY_FILE", str(path))
    return path


def run(*arguments):
    output = StringIO()
    call_command("master_key", *arguments, stdout=output, stderr=StringIO())
    return output.getvalue()


def make_rows(*names):
    rows = [DataKey(name=name) for name in names]
    for row in rows:
        row.seal(SecretText(f"value of {row.name}"))
    DataKey.objects.bulk_create(rows)


def values():
    return {row.name: row.unseal().reveal() for row in DataKey.objects.all()}


def expected(*names):
    return {name: f"value of {name}" for name in names}


def details(action):
    return [json.loads(log.details) for log in AuditLog.objects.filter(action=action)]


pytestmark = pytest.mark.usefixtures("actor")


@pytest.mark.django_db
def test_rotating_puts_every_row_under_a_new_key_and_keeps_the_old(key_file):
    old = master_key.ring().current
    make_rows("one", "two")

    said = run("rotate")

    ring = master_key.ring()
    assert ring.keys[1:] == (old,)
    assert said == f"Re-wrapped 2 rows; all are under master key {ring.current.id}.\n"
    assert set(DataKey.objects.values_list("key_id", flat=True)) == {ring.current.id}
    assert values() == expected("one", "two")
    assert details("ROTATE") == [{"new": ring.current.id, "old": old.id}]
    assert details("REWRAP") == [
        {"current": ring.current.id, "rewrapped": 2, "left": 0, "damaged": 0}
    ]


@pytest.mark.django_db
def test_no_key_is_ever_shown_or_recorded(key_file):
    make_rows("one")
    output = StringIO()

    for arguments in (["status"], ["status", "--json"], ["rotate"], ["rewrap"], ["status"]):
        call_command("master_key", *arguments, stdout=output, stderr=output)

    shown = output.getvalue() + "".join(log.details for log in AuditLog.objects.all())
    for key in master_key.ring().keys:
        assert key.id in shown
        assert key.text not in shown
        assert key.key.hex() not in shown


@pytest.mark.django_db
def test_status_counts_rows_by_key_and_table(key_file, settings):
    old = master_key.ring().current
    make_rows("one", "two")
    new, waiting = MasterKey.new(), MasterKey.new()
    key_file.write_text(f"{new.text}\n{old.text}\nnext:{waiting.text}")
    make_rows("three")
    DataKey.objects.filter(name="two").update(key_id="feedfeedfeedfeed")

    assert json.loads(run("status", "--json")) == {
        "current": new.id,
        "keys": [
            {"id": new.id, "state": "current", "rows": {"compliance_site_data_key": 1}},
            {"id": old.id, "state": "old", "rows": {"compliance_site_data_key": 1}},
            {"id": waiting.id, "state": "waiting", "rows": {}},
            {
                "id": "feedfeedfeedfeed",
                "state": "missing",
                "rows": {"compliance_site_data_key": 1},
            },
        ],
    }
    assert f"{new.id}  current, 1 rows\n            1  compliance_site_data_key\n" in run("status")


@pytest.mark.django_db
def test_rows_that_do_not_open_are_named_and_the_others_are_done(key_file):
    make_rows("bad", "good")
    DataKey.objects.filter(name="bad").update(wrapped_key=b"nonsense")
    errors = StringIO()

    with pytest.raises(CommandError, match="Re-wrapped 1 rows; 1 are still under other keys, 1 of"):
        call_command("master_key", "rotate", stdout=StringIO(), stderr=errors)

    assert "compliance_site_data_key bad: The sealed value was changed" in errors.getvalue()
    assert DataKey.objects.get(name="good").key_id == master_key.ring().current.id


@pytest.mark.django_db
def test_with_the_key_in_the_environment_it_says_what_to_do(settings):
    old = MasterKey.new()
    settings.COMPLIANCE_MASTER_KEY += f",{old.text}"

    with pytest.raises(CommandError, match=r"(?s)openssl rand -hex 32.*Restart.*rewrap"):
        run("rotate")
    with pytest.raises(CommandError, match="take the key out there and restart"):
        run("retire", old.id, "--yes")

    assert not AuditLog.objects.filter(action__in=["ROTATE", "RETIRE"]).exists()


@pytest.mark.django_db
def test_by_hand_in_the_environment_rewrap_carries_on(settings):
    make_rows("one")
    new = MasterKey.new()
    settings.COMPLIANCE_MASTER_KEY = f"{new.text},{settings.COMPLIANCE_MASTER_KEY}"

    assert run("rewrap") == f"Re-wrapped 1 rows; all are under master key {new.id}.\n"
    assert values() == expected("one")


@pytest.mark.django_db
def test_a_key_is_retired_once_nothing_needs_it(key_file):
    make_rows("one")
    old = master_key.ring().current
    run("rotate")
    with pytest.raises(CommandError, match="never be opened again"):
        run("retire", old.id)
    with pytest.raises(CommandError, match="a moment ago; try again in 10 minutes"):
        run("retire", old.id, "--yes")

    os.utime(key_file, LONG_AGO)
    assert run("retire", old.id, "--yes") == f"Removed {old.id} from the key file.\n"

    assert len(master_key.ring().keys) == 1
    assert values() == expected("one")
    assert details("RETIRE") == [{"keys": [old.id]}]


@pytest.mark.django_db
def test_a_key_that_something_needs_is_not_retired(key_file):
    make_rows("one")
    old = master_key.ring().current
    key_file.write_text(f"{MasterKey.new().text}\n{old.text}")
    os.utime(key_file, LONG_AGO)
    before = key_file.read_text()

    for key_id, reason in [
        (old.id, "1 rows are under"),
        (master_key.ring().current.id, "is the current one"),
        ("feedfeedfeedfeed", "No master key"),
    ]:
        with pytest.raises(CommandError, match=reason):
            run("retire", key_id, "--yes")

    assert key_file.read_text() == before
    assert details("RETIRE") == []


def test_a_key_is_not_retired_while_a_row_is_being_written(committed_db, key_file, monkeypatch):
    old = master_key.ring().current
    run("rotate")
    os.utime(key_file, LONG_AGO)
    monkeypatch.setattr(rewrap, "LONGEST_WAIT", "SET LOCAL lock_timeout = '100ms'")

    with psycopg.connect(os.environ["DATABASE_URL"]) as writer:
        writer.execute(
            "INSERT INTO compliance_site_data_key VALUES (%s, '', '', '', 'one')", [old.id]
        )
        with pytest.raises(CommandError, match="in use; nothing was removed"):
            run("retire", old.id, "--yes")
        writer.rollback()

    run("retire", old.id, "--yes")
    assert len(master_key.ring().keys) == 1


def test_two_at_once_are_refused(committed_db, key_file, monkeypatch):
    monkeypatch.setattr(rewrap, "LOCK_SECONDS", 0.1)
    before = key_file.read_text()

    with psycopg.connect(os.environ["DATABASE_URL"]) as other:
        other.execute("SELECT pg_advisory_lock(%s)", [rewrap.LOCK])
        for arguments in (["rotate"], ["rewrap"], ["retire", "feedfeedfeedfeed", "--yes"]):
            with pytest.raises(CommandError, match="Another process"):
                run(*arguments)

    assert key_file.read_text() == before
    run("rotate")


def test_a_row_that_a_transaction_holds_is_left_and_named(committed_db, key_file):
    make_rows("held", "other")

    with psycopg.connect(os.environ["DATABASE_URL"]) as other:
        other.execute("SELECT FROM compliance_site_data_key WHERE name = 'held' FOR UPDATE")
        with pytest.raises(CommandError, match="Re-wrapped 1 rows; 1 are still under other keys"):
            run("rotate")

    assert run("rewrap").startswith("Re-wrapped 1 rows; all are under")

import json

import psycopg
import pytest
from django.core.management import CommandError, call_command

from recovery.restore import compare, plan, run, state

pytestmark = pytest.mark.usefixtures("committed_db", "actor")


@pytest.fixture
def restore(capsys):
    """Run `manage.py restore`; return the last line as JSON."""

    def call(*words):
        call_command("restore", *words, "--json")
        return json.loads(capsys.readouterr().out.splitlines()[-1])

    return call


def test_a_backup_is_planned_restored_shown_undone_and_let_go(shop, backup, restore, run_sql):
    assert restore("plan", backup.id)["exitCode"] == 0

    done = restore("run", backup.id, "--confirm", shop.dbname)
    assert done["step"] == "done"
    assert done["seconds"]["swap"] < 5
    assert restore("status", done["id"])["restores"] == [done]

    undone = restore("undo", done["id"], "--confirm", shop.dbname)
    assert (undone["step"], undone["keeps"]) == ("undone", state.load(done["id"]).undone)

    dropped = restore("discard", done["id"], "--confirm", shop.dbname)
    assert dropped["discarded"] == undone["keeps"]
    assert restore("status")["restores"][0]["keeps"] == ""


def test_people_see_the_plan_and_what_to_do_next(shop, backup, capsys):
    call_command("restore", "run", backup.id, "--confirm", shop.dbname)
    shown = capsys.readouterr()

    restored = state.every()[0]
    assert "It would:" in shown.err
    assert f"Loading into {restored.beside}" in shown.err
    assert f"`manage.py restore undo {restored.id}` puts the replaced database back" in shown.out

    call_command("restore", "discard", restored.id, "--confirm", shop.dbname)
    capsys.readouterr()
    call_command("restore", "status")
    after = capsys.readouterr().out
    assert restored.id in after
    assert "restore undo" not in after


@pytest.mark.parametrize("confirm", [[], ["--confirm", "another"], ["--confirm", ""]])
def test_nothing_happens_without_the_name_typed(shop, backup, run_sql, confirm):
    with pytest.raises(CommandError, match="Not confirmed") as refusal:
        call_command("restore", "run", backup.id, *confirm)

    assert refusal.value.returncode == 2
    assert state.every() == []


def test_warnings_have_to_be_accepted(shop, backup, monkeypatch):
    warning = plan.Finding("slots", plan.Level.WARNING, "A slot stays.")
    monkeypatch.setattr(plan, "_disk", lambda *given: [warning])
    with pytest.raises(SystemExit) as ended:
        call_command("restore", "plan", backup.id)
    assert ended.value.code == 1

    with pytest.raises(CommandError, match="accept them with --yes"):
        call_command("restore", "run", backup.id, "--confirm", shop.dbname)
    call_command("restore", "run", backup.id, "--yes", "--confirm", shop.dbname)


@pytest.mark.parametrize(
    "words",
    [
        ["run"],
        ["run", "20261123T020000Z-3f9ac1", "--resume", "20261123T020000Z-3f9ac1"],
        ["plan", "../../etc/passwd"],
        ["undo", "../../etc/passwd"],
        ["status", "20261123T020000Z-3f9ac1"],
        ["discard", "x"],
    ],
)
def test_what_names_nothing_ends_with_2(shop, words):
    with pytest.raises(CommandError) as refusal:
        call_command("restore", *words)
    assert refusal.value.returncode == 2


def test_a_restore_that_has_ended_is_not_resumed(shop, backup, restore):
    done = run.run(backup.id)

    with pytest.raises(CommandError, match="has ended"):
        restore("run", "--resume", done.id, "--confirm", shop.dbname)


def test_a_person_types_the_name_that_the_server_knows(shop, backup, monkeypatch):
    asked = []
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda question: asked.append(question) or "shop")

    with pytest.raises(CommandError, match=f"--confirm {shop.dbname}"):
        call_command("restore", "run", backup.id)

    assert asked == [
        f"This is about the live database {shop.dbname}, which the console calls shop. "
        f"Type {shop.dbname} to go on: "
    ]


@pytest.mark.parametrize("verb", ["plan", "run", "undo"])
def test_a_server_that_is_away_is_a_sentence(verb, shop, backup, settings):
    done = run.run(backup.id)
    settings.BACKUP_DATABASES = "shop=postgresql://clerk:hunter2@127.0.0.1:9/shop"

    with pytest.raises(CommandError, match=r"^shop: .*127\.0\.0\.1:9") as refusal:
        call_command("restore", verb, done.id if verb == "undo" else backup.id)

    assert refusal.value.returncode == 2
    assert "hunter2" not in str(refusal.value)


def test_the_plan_shows_which_rows_change_and_a_refused_one_no_steps(
    shop, backup, backups_folder, capsys
):
    call_command("restore", "plan", backup.id)
    assert "  public.line: 1,001 rows now, 1,000 then: 1 will be missing" in (
        capsys.readouterr().out.splitlines()
    )

    (backups_folder / "shop" / backup.file).unlink()
    with pytest.raises(SystemExit) as ended:
        call_command("restore", "plan", backup.id)

    shown = capsys.readouterr().out
    assert ended.value.code == 2
    assert "REFUSED  stored file: " in shown
    assert "It would:" not in shown


def test_a_server_that_goes_away_meanwhile_is_a_sentence(shop, backup, monkeypatch):
    def broken(*given, **options):
        raise psycopg.OperationalError("password=hunter2")

    monkeypatch.setattr(compare, "differences", broken)

    with pytest.raises(CommandError, match="The database server went away") as refusal:
        call_command("restore", "run", backup.id, "--confirm", shop.dbname)

    assert refusal.value.returncode == 2
    assert refusal.value.__cause__ is None
    assert "hunter2" not in str(refusal.value)

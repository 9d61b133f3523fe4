import json

import pytest
from django.core.management import CommandError, call_command

from recovery.restore import plan, run, state

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

import re

import pytest
from django.core.management import CommandError, call_command

from recovery.exceptions import BusyError, RefusedError
from recovery.restore import describe, run, state, swap, undo
from recovery.restore.plan import Level
from recovery.restore.state import Step

pytestmark = pytest.mark.usefixtures("committed_db", "actor")


@pytest.fixture
def done(backup):
    """A restore, which has lost the row that was written after the backup."""
    return run.run(backup.id)


def test_an_undo_says_what_it_does_and_what_will_be_missing(shop, done, run_sql):
    run_sql(shop.dbname, "INSERT INTO line SELECT n, 'new' FROM generate_series(2001, 2005) n")

    with shop.connect():
        made = undo.look(done)

    lines = list(describe.undo_lines(done, made))
    assert lines[0] == f"Undo of restore {done.id} of shop:"
    assert "1 session is open and ends at the swap." in lines[1]
    since = rf"since the restore, {done.changed_at[:10]} [0-9:]+ UTC, will be missing"
    assert re.search(since, lines[2])
    assert "  public.line: 1,005 rows now, 1,001 then: 4 will be missing" in lines
    assert done.before in made.steps[0]
    assert made.exit_code == 0
    assert undo.look(done).rows.largest[0].now == 1005
    assert state.load(done.id) == done


def test_what_cannot_be_undone_says_so_and_shows_no_steps(shop, done):
    undone = undo.undo(done.id)

    made = undo.look(undone)

    assert [(each.subject, each.level) for each in made.findings] == [("undo", Level.REFUSAL)]
    assert (made.steps, made.rows) == ((), None)
    with pytest.raises(CommandError, match="only one that is done is undone") as refusal:
        call_command("restore", "undo", done.id, "--confirm", shop.dbname)
    assert refusal.value.returncode == 2


def test_an_undo_that_is_not_confirmed_shows_its_plan_and_does_nothing(shop, done, capsys, run_sql):
    with pytest.raises(CommandError, match=f"--confirm {shop.dbname}") as refusal:
        call_command("restore", "undo", done.id)

    assert refusal.value.returncode == 2
    shown = capsys.readouterr().err
    assert "public.line: 1,000 rows now, 1,001 then: 1 comes back" in shown
    assert f"keep the undone one as {done.undone}" in shown
    assert state.load(done.id) == done
    assert run_sql(shop.dbname, "SELECT count(*) FROM line") == [(1000,)]


def test_an_interrupted_undo_is_planned_and_carried_out(shop, done, run_sql):
    halted = done.at(Step.UNDOING)

    made = undo.look(halted)
    call_command("restore", "undo", done.id, "--confirm", shop.dbname)

    assert (made.findings[0].subject, made.exit_code) == ("interrupted", 1)
    assert run_sql(shop.dbname, "SELECT count(*) FROM line") == [(1001,)]


def test_an_undo_that_could_not_be_had_leaves_the_restore_as_it_was(done, monkeypatch):
    def busy(*given, **options):
        raise BusyError("Sessions did not end.")

    monkeypatch.setattr(swap, "swap", busy)

    with pytest.raises(BusyError):
        undo.undo(done.id)

    assert state.load(done.id) == done


def test_a_prepared_transaction_refuses_the_undo_before_it_is_asked_for(done, monkeypatch):
    monkeypatch.setattr(swap, "prepared", lambda database: ["gid"])

    with pytest.raises(RefusedError, match="It cannot be undone now: Prepared transactions hold"):
        undo.look(done).refuse(undo.CANNOT)

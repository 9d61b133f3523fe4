import json

import pytest

from audit.models import Action, AuditLog
from recovery.restore import run, undo
from recovery.restore.state import Step

pytestmark = pytest.mark.usefixtures("committed_db", "actor")


def rows(run_sql, name):
    return run_sql(name, "SELECT count(*) FROM line")[0][0]


def names(run_sql, shop):
    found = run_sql("postgres", "SELECT datname FROM pg_database")
    return {name for (name,) in found if name.startswith(shop.dbname)}


def test_a_restore_swaps_and_keeps_the_old_one_and_undo_puts_it_back(shop, backup, busy, run_sql):
    with busy(shop.dbname) as seen:
        done = run.run(backup.id)
        assert rows(run_sql, shop.dbname) == 1000
        assert rows(run_sql, done.before) == 1001

        undone = undo.undo(done.id)

    assert rows(run_sql, shop.dbname) == 1001
    assert rows(run_sql, undone.undone) == 1000
    assert (done.step, undone.step) == (Step.DONE, Step.UNDONE)
    assert seen.longest_silence < 5
    assert not done.work_folder.exists()
    recorded = AuditLog.objects.filter(action=Action.RESTORE).order_by("id")
    assert [entry.resource for entry in recorded] == [f"/backups/{backup.id}"] * 2
    assert json.loads(recorded[0].details)["keptAs"] == done.before

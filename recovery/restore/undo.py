"""Put the database back that a restore replaced; and let go of one that nobody needs any more."""

from __future__ import annotations

from recovery.databases import Database, database
from recovery.exceptions import RecoveryError, RefusedError, ServerAwayError
from recovery.restore import beside, own_database, run, state, swap
from recovery.restore.beside import Say
from recovery.restore.state import Restore, Step


def undo(restore_id: str, say: Say = lambda text: None) -> Restore:
    """Swap the names back; the undone database is kept too. Raise `RefusedError`, nothing changed.

    What was written since the restore stays in the undone one.
    """
    target = database(state.load(restore_id).database)
    with state.alone(), swap.alone_on_server(target):
        run.tidy(target, say)
        restore = state.load(restore_id)
        _refuse(restore, swap.numbers(target))
        with own_database.in_maintenance(target):
            restore = restore.at(Step.UNDOING)
            say(f"Swapping the names back; sessions on {restore.dbname} are ended.")
            swapped = _swapped_back(restore, target)
            seconds = restore.seconds | {"undo": swapped.seconds}
            own_database.tell(restore, undone=True, keptAs=restore.undone)
            return restore.at(Step.UNDONE, seconds=seconds)


def kept(restore: Restore, numbers: dict[str, int]) -> str:
    """Return the name of the database that a restore keeps, "" when there is none any more."""
    name = restore.undone if restore.step is Step.UNDONE else restore.before
    number = restore.beside_oid if restore.step is Step.UNDONE else restore.live_oid
    return name if number and numbers.get(name) == number else ""


def discard(restore_id: str) -> str:
    """Drop the database that a restore keeps, for ever; return its name."""
    target = database(state.load(restore_id).database)
    with state.alone(), swap.alone_on_server(target):
        restore = state.load(restore_id)
        name = kept(restore, swap.numbers(target)) if restore.step.is_end else ""
        if not name:
            raise RefusedError(f"Restore {restore_id} keeps no database.")
        beside.drop(target.on(name))
        own_database.tell(restore, discarded=name)
        return name


def _swapped_back(restore: Restore, target: Database) -> swap.Swapped:
    try:
        return swap.swap(target, incoming=restore.before, kept_as=restore.undone)
    except ServerAwayError:
        raise
    except RecoveryError:
        restore.at(Step.DONE)
        raise


def _refuse(restore: Restore, numbers: dict[str, int]) -> None:
    """Raise `RefusedError` unless the restore is done, live, and the replaced one is still there."""
    if restore.step is not Step.DONE:
        raise RefusedError(
            f"Restore {restore.id} is {restore.step}; only one that is done is undone."
        )
    if numbers.get(restore.dbname) != restore.beside_oid:
        raise RefusedError(
            f"{restore.dbname} is not the database of restore {restore.id} any more: another "
            "restore came after it. Undo that one first."
        )
    if not kept(restore, numbers):
        raise RefusedError(
            f"The database that restore {restore.id} replaced is not there any more."
        )

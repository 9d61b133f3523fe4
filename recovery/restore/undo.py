"""Put the database back that a restore replaced; and let go of one that nobody needs any more."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import psycopg

from recovery.databases import Database, database
from recovery.exceptions import RecoveryError, RefusedError, ServerAwayError
from recovery.restore import beside, own_database, plan, rows, run, state, swap
from recovery.restore.beside import Say
from recovery.restore.plan import Finding, Level, Plan
from recovery.restore.state import Restore, Step

CANNOT = "It cannot be undone now"


def look(restore: Restore) -> Plan:
    """Say what an undo would do and lose, and what speaks against it; nothing is changed.

    Raise `ServerAwayError` when the server cannot be asked.
    """
    target = database(restore.database)
    try:
        findings = tuple(_findings(restore, target))
    except psycopg.OperationalError:
        raise ServerAwayError(f"{target.name}: the server went away while it was asked.") from None
    at = restore.ended_at
    made = Plan(target.name, restore.backup_id, at, findings, _steps(restore, target))
    if made.is_refused:
        return made
    return replace(made, rows=rows.changes(target, target.on(restore.before)))


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
            undoing = restore.at(Step.UNDOING)
            say(f"Swapping the names back; sessions on {restore.dbname} are ended.")
            swapped = _swapped_back(restore, target)
            seconds = restore.seconds | {"undo": swapped.seconds}
            own_database.tell(undoing, undone=True, keptAs=restore.undone)
            if target.is_console:
                for note in own_database.listed():
                    say(note)
            return undoing.at(Step.UNDONE, seconds=seconds)


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
        # As it was, with the moment at which it was done.
        restore.save()
        raise


def _findings(restore: Restore, target: Database) -> Iterator[Finding]:
    if not restore.step.is_end:
        text = f"It was interrupted after: {restore.step}. It is brought to its end first."
        yield Finding("interrupted", Level.WARNING, text)
    elif complaint := _complaint(restore, swap.numbers(target)):
        yield Finding("undo", Level.REFUSAL, complaint)
        return
    with swap.maintenance(target).connect() as connection:
        yield from plan.live(target, connection)
    since = f"{restore.ended_at:%Y-%m-%d %H:%M:%S} UTC"
    text = (
        f"What was written since the restore, {since}, will be missing; {restore.undone} keeps it."
    )
    yield Finding("loss", Level.OK, text)


def _steps(restore: Restore, target: Database) -> tuple[str, ...]:
    pages = "; web pages answer 503 meanwhile" if target.is_console else ""
    return (
        f"rename both at once, {restore.before} to {restore.dbname}; sessions on {restore.dbname} "
        f"are ended and may connect again{pages}",
        f"keep the undone one as {restore.undone} until `manage.py restore discard {restore.id}`",
    )


def _refuse(restore: Restore, numbers: dict[str, int]) -> None:
    if complaint := _complaint(restore, numbers):
        raise RefusedError(complaint)


def _complaint(restore: Restore, numbers: dict[str, int]) -> str:
    """Say why not, "" when the restore is done, live, and the replaced one is still there."""
    if restore.step is not Step.DONE:
        return f"Restore {restore.id} is {restore.step}; only one that is done is undone."
    if numbers.get(restore.dbname) != restore.beside_oid:
        return (
            f"{restore.dbname} is not the database of restore {restore.id} any more: another "
            "restore came after it. Undo that one first."
        )
    if not kept(restore, numbers):
        return f"The database that restore {restore.id} replaced is not there any more."
    return ""

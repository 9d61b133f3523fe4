"""Carry a restore out: beside the live database, checked, then swapped with it.

Each step is written down when it is done. Before the swap nothing of the live database has
changed; whoever was killed there leaves a database beside it, which the next run drops.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from audit.capture.actors import current
from recovery.backups import contents, source
from recovery.backups.manifest import Manifest
from recovery.backups.progress import size_text
from recovery.backups.snapshot import only_tables
from recovery.backups.source import Source
from recovery.databases import Database, database
from recovery.exceptions import (
    DamagedError,
    RecoveryError,
    RefusedError,
    ServerAwayError,
    StoreError,
)
from recovery.restore import (
    beside,
    compare,
    own_database,
    plan,
    properties,
    state,
    swap,
)
from recovery.restore.beside import Say
from recovery.restore.state import Asked, Restore, Step

LONGEST_REASON = 500


@dataclass(frozen=True)
class Work:
    """What a step needs to know."""

    database: Database
    source: Source
    say: Say

    @property
    def manifest(self) -> Manifest:
        return self.source.manifest

    def beside(self, restore: Restore) -> Database:
        return self.database.on(restore.beside)


def run(
    backup_id: str,
    say: Say = lambda text: None,
    *,
    restore_id: str = "",
    asked: Asked | None = None,
) -> Restore:
    """Restore a backup into the database it is of; return how it ended.

    It has the id that a request announced, or one of its own. Raise `RecoveryError` with the
    live database as it was, or `BusyError` while another runs.
    """
    found = source.find(backup_id)
    manifest = found.manifest
    target = database(manifest.database)
    with state.alone(), swap.alone_on_server(target):
        tidy(target, say)
        plan.make(target, found).refuse()
        restore = state.new(
            target.name,
            manifest.id,
            dbname=target.dbname,
            actor=current().actor().name,
            restore_id=restore_id,
            asked=asked,
        )
        restore = restore.at(
            Step.STARTED,
            taken_at=manifest.taken_at.isoformat(),
            live_oid=swap.numbers(target).get(target.dbname, 0),
        )
        say(f"Restore {restore.id} of {manifest.id} begins.")
        return _carry_on(restore, Work(target, found, say))


def resume(restore_id: str, say: Say = lambda text: None) -> Restore:
    """Carry an interrupted restore on: from where its database is loaded, else from the start."""
    interrupted = state.load(restore_id)
    if interrupted.step.is_end:
        raise RefusedError(f"Restore {restore_id} has ended: {interrupted.step}.")
    if interrupted.step in {Step.STARTED, Step.UNPACKED}:
        return run(interrupted.backup_id, say, asked=interrupted.asked)
    target = database(interrupted.database)
    with state.alone(), swap.alone_on_server(target):
        restore = state.load(restore_id)
        if restore.step in {Step.LOADED, Step.CHECKED}:
            return _carry_on(restore, Work(target, source.find(restore.backup_id), say))
        return settle(restore, target, say)


def tidy(target: Database, say: Say = lambda text: None) -> None:
    """Bring every interrupted restore of a database to an end; call it inside `alone`."""
    for restore in state.interrupted(target.name):
        ended = settle(restore, target, say)
        say(f"Restore {restore.id} was interrupted; it is {ended.step} now.")


def settle(restore: Restore, target: Database, say: Say = lambda text: None) -> Restore:
    """Bring an interrupted restore or undo to its end, as the server has the names."""
    numbers = swap.numbers(target)
    has_the_name = numbers.get(restore.dbname)
    match restore.step:
        case Step.UNDOING if has_the_name == restore.live_oid:
            own_database.tell(restore, undone=True, keptAs=restore.undone)
            return restore.at(Step.UNDONE)
        case Step.UNDOING:
            return restore.at(Step.DONE)
        case Step.SWAPPING | Step.SWAPPED if has_the_name == restore.beside_oid:
            return _finish(restore, target, say)
    return _fail(restore, target, f"It was interrupted after: {restore.step}.")


def _carry_on(restore: Restore, work: Work) -> Restore:
    """Do what is left; on an error the database beside is dropped and nothing has changed."""
    try:
        for step, act in STEPS:
            if list(Step).index(restore.step) < list(Step).index(step):
                restore = _timed(restore, step, act, work)
    except ServerAwayError:
        # Nothing can be dropped now; the next run tidies up.
        contents.remove(restore.work_folder)
        raise
    except (RecoveryError, KeyboardInterrupt) as exc:
        _fail(state.load(restore.id), work.database, str(exc) or "Somebody stopped it.")
        raise
    return _exchange(restore, work)


def _timed(restore: Restore, step: Step, act: Act, work: Work) -> Restore:
    started = time.monotonic()
    after = act(restore, work)
    seconds = round(time.monotonic() - started, 3)
    return after.at(step, seconds=after.seconds | {str(step): seconds})


def _unpack(restore: Restore, work: Work) -> Restore:
    work.say(f"Unpacking {size_text(work.manifest.size)}.")
    damage = ""
    for store in work.source.copies():
        contents.remove(restore.work_folder)
        try:
            contents.unpack(work.source, restore.work_folder, store)
            return restore
        except (DamagedError, StoreError) as exc:
            # Another copy may be whole.
            damage += f" {store.name}: {exc}"
            work.say(f"{store.name}: {exc}")
    raise DamagedError(f"No copy of the backup is whole.{damage}")


def _load(restore: Restore, work: Work) -> Restore:
    """Fill a new database from the dump, and give it what the manifest says."""
    target = work.beside(restore)
    work.say(f"Loading into {target.dbname}.")
    facts = work.manifest.facts
    beside.make(target, facts)
    beside.load(
        target,
        restore.work_folder / contents.DUMP,
        with_rights=True,
        size=facts.size_bytes,
        say=work.say,
    )
    beside.analyze(target)
    properties.give(target, contents.with_settings(restore.work_folder, facts))
    contents.remove(restore.work_folder)
    return replace(restore, beside_oid=swap.numbers(target)[target.dbname])


def _check(restore: Restore, work: Work) -> Restore:
    """Compare what was restored with the manifest; raise `DamagedError` naming what differs."""
    work.say(f"Comparing {len(only_tables(work.manifest.tables))} tables with the manifest.")
    target = work.beside(restore)
    if found := compare.differences(target, work.manifest, with_rights=True):
        raise DamagedError(f"What was restored is not what was backed up: {' '.join(found)}")
    if work.database.is_console:
        return replace(restore, notes=own_database.look_at(target))
    return restore


def _exchange(restore: Restore, work: Work) -> Restore:
    """Swap the names; afterwards the restored database is the live one."""
    lost = ""
    with own_database.in_maintenance(work.database):
        if work.database.is_console and restore.live_oid:
            lost = own_database.lost_entries(work.database, work.manifest)
        restore = restore.at(Step.SWAPPING)
        work.say(f"Swapping the names; sessions on {restore.dbname} are ended.")
        try:
            swapped = _swapped(restore, work)
        except ServerAwayError:
            raise
        except RecoveryError as exc:
            _fail(restore, work.database, str(exc))
            raise
        restore = restore.at(Step.SWAPPED, seconds=restore.seconds | {"swap": swapped.seconds})
        return _finish(restore, work.database, work.say, lost)


def _swapped(restore: Restore, work: Work) -> swap.Swapped:
    if not restore.live_oid:
        return swap.rename(work.database, restore.beside, restore.dbname)
    return swap.swap(work.database, incoming=restore.beside, kept_as=restore.before)


def _finish(restore: Restore, target: Database, say: Say, lost: str = "") -> Restore:
    """Settle what was swapped; it is the live database, so nothing here takes it back."""
    contents.remove(restore.work_folder)
    notes = restore.notes
    if target.is_console:
        notes += own_database.settle(restore, lost)
    else:
        own_database.tell(restore, lost=lost)
    restore = restore.at(Step.DONE, notes=tuple(dict.fromkeys(notes)))
    say(f"Restore {restore.id} is done.")
    return restore


def _fail(restore: Restore, target: Database, reason: str) -> Restore:
    """Drop what was made beside and write down why; the live database was not touched."""
    contents.remove(restore.work_folder)
    numbers = swap.numbers(target)
    if numbers.get(restore.beside) not in {None, numbers.get(restore.dbname)}:
        beside.drop(target.on(restore.beside))
    failed = restore.at(Step.FAILED, reason=reason[:LONGEST_REASON])
    own_database.tell(failed, failed=failed.reason)
    return failed


type Act = Callable[[Restore, Work], Restore]
STEPS: tuple[tuple[Step, Act], ...] = (
    (Step.UNPACKED, _unpack),
    (Step.LOADED, _load),
    (Step.CHECKED, _check),
)

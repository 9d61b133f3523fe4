"""How far each restore is: one file for each, outside of every database that is swapped."""

from __future__ import annotations

import json
import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from django.conf import settings

from compliance_site.foundation.embedded.locks import make_folder, try_exclusive
from recovery.exceptions import BusyError, DamagedError, RecoveryError

ID = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{6}")
LARGEST = 1_000_000
LOCK = ".lock"
# Whoever only looks whether a restore runs holds the lock for a moment.
LOOKING_SECONDS = 0.5
# PostgreSQL cuts longer names off, in silence.
LONGEST_NAME = 63


class Step(StrEnum):
    """What was done last; what is under way is the step after it."""

    STARTED = "started"
    UNPACKED = "unpacked"
    LOADED = "loaded"
    CHECKED = "checked"
    # Written before the names change; only the server knows whether they did.
    SWAPPING = "swapping"
    SWAPPED = "swapped"
    DONE = "done"
    UNDOING = "undoing"
    UNDONE = "undone"
    FAILED = "failed"

    @property
    def is_end(self) -> bool:
        return self in {Step.DONE, Step.UNDONE, Step.FAILED}


@dataclass(frozen=True)
class Asked:
    """The request that a restore came of; its row may be in the database that is swapped."""

    request: int
    requester: str
    decider: str
    reason: str


@dataclass(frozen=True)
class Restore:
    """One restore. Databases are known by their numbers, which no rename changes."""

    id: str
    database: str
    backup_id: str
    actor: str
    # The live database's name, that of the restored one before the swap, and those that the
    # replaced one and an undone one are kept under.
    dbname: str
    beside: str
    before: str
    undone: str
    started_at: str
    step: Step = Step.STARTED
    changed_at: str = ""
    taken_at: str = ""
    live_oid: int = 0
    beside_oid: int = 0
    reason: str = ""
    # What people should know of: differences that were accepted, what has to follow.
    notes: tuple[str, ...] = ()
    # Seconds that each step took, and that the live database was without its name.
    seconds: dict[str, float] = field(default_factory=dict)
    # None for one that the command began, and in the files of older releases.
    asked: Asked | None = None

    @property
    def work_folder(self) -> Path:
        """Where its backup is unpacked; nothing else is kept there."""
        return settings.RECOVERY_FOLDER / "work" / f"restore-{self.id}"

    @property
    def ended_at(self) -> datetime:
        """When it came to where it is."""
        return datetime.fromisoformat(self.changed_at)

    @property
    def took_seconds(self) -> float | None:
        """Seconds from its beginning to its end; of an undone one those of the undo, None if unknown."""
        if self.step is Step.UNDONE:
            return self.seconds.get("undo")
        return (self.ended_at - datetime.fromisoformat(self.started_at)).total_seconds()

    def at(self, step: Step, **changes: Any) -> Restore:
        """Return the restore one step on, written down durably; raise `RecoveryError`."""
        after = replace(self, step=step, changed_at=_now(), **changes)
        after.save()
        return after

    def save(self) -> None:
        content = json.dumps(asdict(self), indent=1, sort_keys=True)
        draft = folder() / f".{self.id}.new"
        try:
            with open(os.open(draft, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w") as file:
                file.write(content + "\n")
                file.flush()
                os.fsync(file.fileno())
            os.replace(draft, folder() / f"{self.id}.json")
            _sync(folder())
        except OSError as exc:
            raise RecoveryError(
                f"The state of the restore cannot be written to RECOVERY_FOLDER: {exc.strerror}."
            ) from None


class UnknownRestoreError(RecoveryError):
    """There is no restore with this id."""


def new_id() -> str:
    """Return the id of a restore to come."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"


def new(
    database: str,
    backup_id: str,
    *,
    dbname: str,
    actor: str,
    restore_id: str = "",
    asked: Asked | None = None,
) -> Restore:
    """Return a restore that is not written down yet, with an id of its own unless one is given."""
    restore_id = restore_id or new_id()
    return Restore(
        id=restore_id,
        database=database,
        backup_id=backup_id,
        actor=actor,
        dbname=dbname,
        beside=name_of(dbname, "restore", restore_id),
        before=name_of(dbname, "before", restore_id),
        undone=name_of(dbname, "undone", restore_id),
        started_at=_now(),
        asked=asked,
    )


def name_of(dbname: str, kind: str, restore_id: str) -> str:
    """Return the name of a restore's database: as much of `dbname` as fits in PostgreSQL's 63 bytes."""
    ending = f"_{kind}_{restore_id}"
    kept = dbname.encode()[: LONGEST_NAME - len(ending)].decode(errors="ignore")
    return kept + ending


def load(restore_id: str) -> Restore:
    """Read a restore; raise `UnknownRestoreError`, or `DamagedError` for a file that is none."""
    path = folder() / f"{restore_id}.json"
    if not ID.fullmatch(restore_id) or not path.is_file() or path.is_symlink():
        raise UnknownRestoreError(
            "There is no restore with this id; `manage.py restore status` lists them."
        )
    try:
        with open(path) as file:
            body = json.loads(file.read(LARGEST))
        read = {"step": Step(body["step"]), "notes": tuple(body["notes"])}
        asked = Asked(**body["asked"]) if body.get("asked") else None
        return Restore(**body | read | {"asked": asked})
    except (ValueError, TypeError, KeyError, RecursionError):
        raise DamagedError(f"The state of restore {restore_id} is damaged: {path}.") from None


def every() -> list[Restore]:
    """Return all restores, the newest first."""
    ids = [path.stem for path in folder().glob("*.json") if ID.fullmatch(path.stem)]
    # Not by the id, which counts whole seconds.
    return sorted(map(load, ids), key=lambda each: each.started_at, reverse=True)


def last_ended() -> list[Restore]:
    """Return the last restore of each database that ended in each way; none where none can be read."""
    try:
        ended = [each for each in every() if each.step.is_end]
    except RecoveryError:
        return []
    ended.sort(key=lambda each: each.changed_at)
    return list({(each.database, each.step): each for each in ended}.values())


def interrupted(database: str) -> list[Restore]:
    """Return the restores of a database that did not come to an end; call it inside `alone`."""
    return [each for each in every() if each.database == database and not each.step.is_end]


@contextmanager
def alone() -> Iterator[None]:
    """Be the only restore of this console; raise `BusyError` when one runs.

    The kernel lets go of the lock after kill -9.
    """
    descriptor = os.open(folder() / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + LOOKING_SECONDS
        while not try_exclusive(descriptor):
            if time.monotonic() > deadline:
                raise BusyError(
                    "Another restore is under way; `manage.py restore status` shows it."
                )
            time.sleep(0.02)
        yield
    finally:
        os.close(descriptor)


def is_running() -> bool:
    """Tell whether a restore or an undo of this console is under way now."""
    descriptor = os.open(folder() / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        return not try_exclusive(descriptor)
    finally:
        os.close(descriptor)


def folder() -> Path:
    """Return the folder of the states, made at its first use; raise `RecoveryError`."""
    path: Path = settings.RECOVERY_FOLDER / "restores"
    try:
        make_folder(path)
    except OSError as exc:
        raise RecoveryError(f"RECOVERY_FOLDER cannot be written: {exc.strerror}.") from None
    return path


def _now() -> str:
    return datetime.now(UTC).isoformat()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

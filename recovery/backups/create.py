"""Makes a backup: dump, count, seal, store everywhere, read back; the manifest is last."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from compliance_site.foundation import rewrap
from recovery import sealing, stores
from recovery.backups import archive, lock
from recovery.backups.attempts import Attempt, close_dead, expected_bytes, failed_ids, vanished
from recovery.backups.dump import Connection, Dumped, Moment, begin, dump
from recovery.backups.manifest import Manifest
from recovery.backups.progress import Progress, size_text
from recovery.backups.readme import README
from recovery.backups.storing import Copies, seal_into, sweep
from recovery.databases import Database
from recovery.exceptions import BusyError, ConfigurationError, RecoveryError
from recovery.models import BackupKind


@dataclass(frozen=True)
class Created:
    """A backup that is in at least one store; `copies` says by store why it is not there, or ""."""

    manifest: Manifest
    copies: dict[str, str]

    @property
    def is_complete(self) -> bool:
        return not any(self.copies.values())


def create(database: Database, *, progress: Progress | None = None) -> Manifest:
    """Back the database up; return the manifest of what at least one store has.

    Raise a `RecoveryError`: `BusyError` when another process is at it, which counts as no attempt.
    """
    return make(Attempt(database.name), database, progress or Progress()).manifest


def make(attempt: Attempt, database: Database, progress: Progress) -> Created:
    """Do what `create` says for an attempt whose id is known, and say which stores have it."""
    reason = "It was interrupted."
    done = False
    try:
        with lock.held(database) as connection:
            close_dead(database.name)
            attempt.running()
            created = _make(attempt, database, connection, progress)
            done = True
    except BusyError:
        done = True
        raise
    except RecoveryError as exc:
        reason = str(exc)
        raise
    finally:
        progress.done()
        if not done:
            attempt.failed(reason)
    return created


def _make(
    attempt: Attempt, database: Database, connection: Connection, progress: Progress
) -> Created:
    places, _ = stores.stores(), sealing.recipients()
    sweep(places, database.name, failed_ids(database.name))
    with _staging(database, attempt.id) as folder:
        moment = begin(database, connection)
        expected = expected_bytes(database.name, moment.facts.size_bytes)
        # Of a first one nobody knows: half of the database is seldom reached.
        _check_space(folder, moment.facts.size_bytes // 2 if expected is None else expected)
        progress.phase(f"Dumping {database.name}", expected or 0)
        dumped = dump(database, connection, moment, folder, progress)
        if not dumped.has_passwords:
            progress.say(f"Roles are kept without passwords: {database.user} may not read them.")
        (folder / "README.txt").write_text(README)
        (folder / "settings.json").write_text(json.dumps(moment.facts.settings))
        name = f"{database.name}/{attempt.id}.tar.age"
        total = archive.size(folder)
        copies = seal_into(places, name, archive.stream(folder), total, progress, vanished(places))
    manifest = _manifest(attempt, database, moment, dumped, copies)
    content = manifest.signed()
    stem = f"{database.name}/{attempt.id}"
    copies.put(f"{stem}.json", content)
    copies.discard(f"{stem}.json", f"{stem}.tar.age")
    outcome = {place.name: copies.reasons.get(place.name, "") for place in places}
    attempt.stored(manifest, content, outcome)
    return Created(manifest, outcome)


def _manifest(
    attempt: Attempt, database: Database, moment: Moment, dumped: Dumped, copies: Copies
) -> Manifest:
    return Manifest(
        id=attempt.id,
        database=database.name,
        dbname=database.dbname,
        kind=BackupKind.LOGICAL.value,
        taken_at=moment.taken_at,
        finished_at=datetime.now(UTC),
        file=f"{attempt.id}.tar.age",
        size=copies.size,
        sha256=copies.sha256,
        recipients=sealing.recipients(),
        program=dumped.program,
        facts=moment.facts.without_values(),
        tables=dumped.tables,
        master_keys=_master_keys() if database.is_console else (),
    )


def _master_keys() -> tuple[str, ...]:
    """Return the ids of the keys without which the console's sealed values never open again."""
    return tuple(sorted({key for counts in rewrap.rows_by_key().values() for key in counts}))


@contextmanager
def _staging(database: Database, backup_id: str) -> Iterator[Path]:
    """Lend an empty folder; what killed backups of the database left is removed first."""
    root = lock.folder()
    for left in root.glob(f"{database.name}.*Z-*"):
        shutil.rmtree(left)
    folder = root / f"{database.name}.{backup_id}"
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise ConfigurationError(
            f"RECOVERY_FOLDER: {folder.parent} has {size_text(free)} free ({free} bytes); the dump "
            f"needs about {size_text(needed)} ({needed} bytes)."
        )

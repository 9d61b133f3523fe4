"""Which base backups and which log are still needed, and taking away the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from recovery.physical import base_files, samples
from recovery.physical.archive import Archive
from recovery.physical.engine import BaseBackup


@dataclass(frozen=True)
class Unneeded:
    """What can go: backups (those that build on others first) and whole segments of log."""

    backups: tuple[BaseBackup, ...]
    segments: tuple[str, ...]


def oldest_needed(backups: Sequence[BaseBackup]) -> int | None:
    """Return the position from which on log is needed; None, all of it, without any backup.

    A pinned backup keeps the log since it was made as well as its own: going back to any time
    after it stays possible.
    """
    return min((each.start for each in backups if not each.fault or each.pinned), default=None)


def unneeded(archive: Archive, days: int, now: datetime) -> Unneeded:
    """Return what is not needed to go back `days` days: nothing is removed.

    Kept are the backups of the last days, the newest one before those, what these build on, and
    all that is pinned. Days are counted back from the newest backup when that is older than
    `now`: a clock that is ahead, or backups that have stopped, make nothing go.
    """
    backups = base_files.read_all(archive)
    newest = max((each.finished_at for each in backups if not each.fault), default=now)
    kept = _kept(backups, min(now, newest) - timedelta(days=days))
    gone = [each for each in reversed(backups) if each.id not in kept]
    since = oldest_needed([each for each in backups if each.id in kept])
    return Unneeded(tuple(gone), tuple(_before(archive, since)))


def remove(archive: Archive, found: Unneeded) -> None:
    """Remove what is not needed; interrupted, what is found next is the rest."""
    for backup in found.backups:
        base_files.remove(archive, backup.id)
    for name in found.segments:
        (archive.wal / name).unlink(missing_ok=True)
    if left := base_files.read_all(archive):
        samples.forget_before(archive.samples, min(each.started_at for each in left).date())


def _kept(backups: Sequence[BaseBackup], since: datetime) -> set[str]:
    usable = [each for each in backups if not each.fault]
    older = [each for each in usable if each.finished_at < since]
    chosen = [each for each in usable if each.finished_at >= since] + older[-1:]
    chosen += [each for each in backups if each.pinned and each not in chosen]
    kept: set[str] = set()
    for backup in chosen:
        ids = [backup.id] if backup.fault else [e.id for e in base_files.chain(backups, backup)]
        kept.update(ids)
    return kept


def _before(archive: Archive, position: int | None) -> list[str]:
    """Name the whole segments that end before a position."""
    if position is None:
        return []
    contents = archive.contents()
    ended = [each for each in contents.whole if (each.number + 1) * contents.size <= position]
    return [each.name(contents.size) for each in sorted(ended)]

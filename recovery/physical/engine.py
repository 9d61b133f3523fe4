"""What an engine for physical backups can do, and what it answers with.

An engine knows base backups of a whole server and the log written since. The built-in one uses
PostgreSQL's own programs; another one drives pgBackRest.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from recovery.exceptions import RefusedError, UnknownBackupError
from recovery.physical.accounts import Account
from recovery.physical.archive import Identity
from recovery.physical.wal import lsn_text


class TargetKind(StrEnum):
    TIME = "time"
    LSN = "lsn"
    NAME = "name"
    LATEST = "latest"


@dataclass(frozen=True)
class Target:
    """The moment to go back to: exactly one of the three is given, none for the latest there is."""

    kind: TargetKind
    at: datetime | None = None
    position: int | None = None
    point: str = ""

    def __str__(self) -> str:
        if self.at is not None:
            return time_text(self.at)
        if self.position is not None:
            return lsn_text(self.position)
        return f"the point {self.point!r}" if self.point else "the latest"


@dataclass(frozen=True)
class BaseBackup:
    """A copy of a server's files; with the log from `start` to `end` it is a whole server."""

    id: str
    # The backup that an incremental one builds on; "" for a full one.
    parent: str
    started_at: datetime
    finished_at: datetime
    timeline: int
    start: int
    end: int
    size_bytes: int
    pinned: bool = False
    # Why it is of no use; "" when nothing is known against it.
    fault: str = ""

    @property
    def kind(self) -> str:
        return "incremental" if self.parent else "full"


@dataclass(frozen=True)
class Span:
    """From where to where one can go back without a gap in the log."""

    since: int
    since_at: datetime
    until: int
    until_at: datetime
    timeline: int

    def holds(self, target: Target) -> bool:
        if target.at is not None:
            return self.since_at <= target.at <= self.until_at
        if target.position is not None:
            return self.since <= target.position <= self.until
        return True

    def __str__(self) -> str:
        return (
            f"{time_text(self.since_at)} to {time_text(self.until_at)} "
            f"({lsn_text(self.since)} to {lsn_text(self.until)})"
        )


@dataclass(frozen=True)
class Plan:
    """A restore that can be done: from this backup, in this span."""

    target: Target
    backup: BaseBackup
    span: Span
    # What the restored files will take at least.
    bytes_needed: int = 0


class Engine(ABC):
    """One way to keep base backups and log of one server. Methods raise `RecoveryError`."""

    name: str

    @abstractmethod
    def back_up(self, *, incremental: bool) -> BaseBackup:
        """Make a base backup that can be restored from at once."""

    @abstractmethod
    def can_increment(self) -> bool:
        """Say whether the server can make incremental backups as it is set up now."""

    @abstractmethod
    def backups(self) -> list[BaseBackup]:
        """Return the complete ones, oldest first."""

    @abstractmethod
    def check(self) -> list[str]:
        """Return what is wrong with backups and log; nothing when all is well.

        It only looks, and waits for no server.
        """

    def try_out(self) -> list[str]:
        """Return what is wrong with the way that log takes, by sending some, however long it takes."""
        return []

    @abstractmethod
    def covered(self) -> list[Span]:
        """Return what one can go back to, oldest first."""

    @abstractmethod
    def plan(self, target: Target) -> Plan:
        """Choose the backup for a target, touching nothing.

        Raise `RefusedError`, which tells the covered range, for a target outside.
        """

    @abstractmethod
    def lay_out(self, plan: Plan, draft: Path, folder: Path, account: Account) -> Mapping[str, str]:
        """Put the backup's files, checked, into the empty folder `draft`.

        They are moved to `folder` afterwards. Return the server's settings for its recovery.
        """

    @abstractmethod
    def identity(self) -> Identity:
        """Return the server that was backed up, which need not be there any more."""

    @abstractmethod
    def account(self) -> Account:
        """Return the account that may read the backups, which the restored server runs as."""


def choose(target: Target, spans: Sequence[Span], backups: Sequence[BaseBackup]) -> Plan:
    """Choose the newest backup before the target; raise `RefusedError` with what is covered."""
    held = [span for span in spans if span.holds(target)]
    if not held:
        raise outside(target, spans)
    span = held[-1]
    usable = [each for each in backups if not each.fault and _precedes(each, target, span)]
    return Plan(target, max(usable, key=lambda each: each.end), span)


def outside(target: Target, spans: Sequence[Span]) -> RefusedError:
    """Return the answer to a target that cannot be reached."""
    if not spans:
        return RefusedError(
            "There is nothing to go back to yet: it takes a base backup and the log since."
        )
    covered = ", and ".join(str(span) for span in spans)
    return RefusedError(f"{str(target).capitalize()} is not covered. Covered: {covered}.")


def find(backups: Sequence[BaseBackup], backup_id: str) -> BaseBackup:
    """Return one of them; raise `UnknownBackupError`."""
    for backup in backups:
        if backup.id == backup_id:
            return backup
    raise UnknownBackupError("There is no base backup with this id.")


def time_text(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}+00"


def _precedes(backup: BaseBackup, target: Target, span: Span) -> bool:
    inside = span.since <= backup.end <= span.until
    if target.at is not None:
        return inside and backup.finished_at <= target.at
    if target.position is not None:
        return inside and backup.end <= target.position
    return inside

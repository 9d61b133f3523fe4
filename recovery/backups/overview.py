"""How each database stands: its newest backups, where they are, its last month, and what is amiss."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Any

from django.conf import settings
from django.utils import timezone

from recovery.databases import databases
from recovery.models import Backup, BackupKind, BackupState

DAYS = 30
TASK = "recovery.heavy.backup_all"
# A backup a day, and two hours for it to be late.
OLD = timedelta(hours=26)
# A verification a week, and a day for it to be late.
LONG_UNVERIFIED = timedelta(days=8)
SLOW_WORKER = timedelta(minutes=10)


class DayKind(StrEnum):
    """The best that a day had."""

    VERIFIED = "verified"
    STORED = "stored"
    REMOVED = "removed since"
    FAILED = "failed"
    NONE = "none"


@dataclass(frozen=True)
class Day:
    day: date
    kind: DayKind


@dataclass(frozen=True)
class Card:
    """One database; `warnings` are sentences, none when all is well."""

    database: str
    newest: Backup | None
    verified: Backup | None
    under_way: Backup | None
    next_due_at: datetime | None
    stores: tuple[str, ...]
    count: int
    total_bytes: int
    days: tuple[Day, ...]
    warnings: tuple[str, ...]
    is_configured: bool

    def counted(self, kind: DayKind) -> int:
        return sum(day.kind == kind for day in self.days)

    @property
    def days_in_words(self) -> str:
        counts = [f"{self.counted(kind)} {kind}" for kind in DayKind if self.counted(kind)]
        return f"The last {len(self.days)} days: {', '.join(counts)}"


def cards(now: datetime | None = None) -> list[Card]:
    """Return a card for each database that is configured or has backups; raise `ConfigurationError`."""
    now = now or timezone.now()
    configured = databases()
    by_database: dict[str, list[Backup]] = defaultdict(list)
    for backup in Backup.objects.filter(kind=BackupKind.LOGICAL).defer("manifest"):
        by_database[backup.database].append(backup)
    names = [*configured, *sorted(by_database.keys() - configured.keys())]
    return [_card(name, by_database[name], now, is_configured=name in configured) for name in names]


def next_due(now: datetime) -> datetime | None:
    """Return when the next automatic backup begins; None when there are none."""
    if not settings.ENABLE_AUTOMATED_BACKUPS:
        return None
    # A crontab of Celery, whose stubs know no `hour`.
    schedule: Any = settings.CELERY_BEAT_SCHEDULE[TASK]["schedule"]
    hour, minute = min(schedule.hour), min(schedule.minute)
    due = now.astimezone(UTC).replace(hour=hour, minute=minute, second=0, microsecond=0)
    return due if due > now else due + timedelta(days=1)


def _card(name: str, backups: list[Backup], now: datetime, *, is_configured: bool) -> Card:
    """Sum up a database's backups, which come newest first."""
    stored = [each for each in backups if each.state == BackupState.STORED]
    verified = next((each for each in stored if each.verified_at), None)
    moving = (BackupState.QUEUED, BackupState.RUNNING)
    return Card(
        database=name,
        newest=stored[0] if stored else None,
        verified=verified,
        under_way=next((each for each in backups if each.state in moving), None),
        next_due_at=next_due(now) if is_configured else None,
        stores=tuple(sorted({store for each in stored for store in _places(each)})),
        count=len(stored),
        total_bytes=sum(each.size_bytes or 0 for each in stored),
        days=_days(backups, now),
        warnings=tuple(_warnings(backups, stored, verified, now, is_configured=is_configured)),
        is_configured=is_configured,
    )


def _places(backup: Backup) -> list[str]:
    return [store for store, reason in backup.copies.items() if not reason]


def _warnings(
    backups: list[Backup],
    stored: list[Backup],
    verified: Backup | None,
    now: datetime,
    *,
    is_configured: bool,
) -> Iterator[str]:
    if missing := sum(each.state == BackupState.MISSING for each in backups):
        yield f"{missing} of its backups cannot be found any more; retention did not remove them."
    if not is_configured:
        yield "It is not configured any more: no further backup is made."
    elif not settings.ENABLE_AUTOMATED_BACKUPS:
        yield "Automatic backups are switched off (ENABLE_AUTOMATED_BACKUPS)."
    if not stored:
        yield "There is no backup."
    elif is_configured and now - stored[0].started_at > OLD:
        yield f"The newest backup is {_age(stored[0].started_at, now)} old."
    yield from _about_verification(stored, verified, now)
    yield from _about_newest(backups, stored, now)


def _about_verification(
    stored: list[Backup], verified: Backup | None, now: datetime
) -> Iterator[str]:
    if not stored:
        return
    if verified is None:
        yield "No backup was ever restored to check it: nobody knows that one can be."
    elif now - verified.started_at > LONG_UNVERIFIED:
        yield f"The newest verified backup is {_age(verified.started_at, now)} old."
    last = stored[0].verifications.first()
    if last and last.passed is False:
        yield f"The newest backup failed its verification: {last.reason}"


def _about_newest(backups: list[Backup], stored: list[Backup], now: datetime) -> Iterator[str]:
    ended = [each for each in backups if each.finished_at]
    if ended and ended[0].state == BackupState.FAILED:
        yield f"The last attempt failed: {ended[0].reason}"
    for store, reason in stored[0].copies.items() if stored else ():
        if reason:
            yield f"The newest backup is missing in {store}: {reason}"
    for each in backups:
        if each.state == BackupState.QUEUED and now - each.started_at > SLOW_WORKER:
            waits = _age(each.started_at, now)
            yield f"A backup waits {waits} for a worker: does one serve the queue `recovery`?"


def _days(backups: Iterable[Backup], now: datetime) -> tuple[Day, ...]:
    best: dict[date, DayKind] = {}
    order = list(DayKind)
    for backup in backups:
        day, kind = backup.started_at.astimezone(UTC).date(), _kind(backup)
        best[day] = min(best.get(day, DayKind.NONE), kind, key=order.index)
    today = now.astimezone(UTC).date()
    days = [today - timedelta(days=ago) for ago in range(DAYS - 1, -1, -1)]
    return tuple(Day(day, best.get(day, DayKind.NONE)) for day in days)


def _kind(backup: Backup) -> DayKind:
    if backup.state == BackupState.STORED:
        return DayKind.VERIFIED if backup.verified_at else DayKind.STORED
    kinds = {
        BackupState.REMOVED: DayKind.REMOVED,
        BackupState.MISSING: DayKind.REMOVED,
        BackupState.FAILED: DayKind.FAILED,
    }
    return kinds.get(BackupState(backup.state), DayKind.NONE)


def _age(moment: datetime, now: datetime) -> str:
    seconds = (now - moment).total_seconds()
    for size, unit in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{int(seconds // size)} {unit}"
    return "a minute"

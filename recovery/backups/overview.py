"""How each database stands: its newest backups, where they are, its last month, and what is amiss."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Any

from django.conf import settings
from django.utils import timezone

from recovery.backups.standing import Standing, age_text
from recovery.databases import databases
from recovery.models import Backup, BackupKind, BackupState

DAYS = 30
TASK = "recovery.heavy.backup_all"
SLOW_WORKER = timedelta(minutes=10)


class DayKind(StrEnum):
    """The best that a day had."""

    VERIFIED = "verified"
    STORED = "stored"
    MISSING = "missing"
    REMOVED = "removed since"
    FAILED = "failed"
    NONE = "none"


@dataclass(frozen=True)
class Day:
    """A day's best backup, and how many attempts failed on it."""

    day: date
    kind: DayKind
    failed: int = 0

    @property
    def has_failed_too(self) -> bool:
        return self.failed > 0 and self.kind is not DayKind.FAILED

    @property
    def words(self) -> str:
        if self.has_failed_too:
            return f"{self.kind}, and {self.failed} failed"
        return f"{self.failed} failed" if self.failed > 1 else self.kind


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
        words = f"The last {len(self.days)} days: {', '.join(counts)}"
        beside = sum(day.failed for day in self.days if day.has_failed_too)
        return f"{words}; and {beside} failed on days with a backup" if beside else words


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
    standing = _standing(backups, stored, verified, now)
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
        warnings=tuple(_warnings(backups, stored, standing, now, is_configured=is_configured)),
        is_configured=is_configured,
    )


def _places(backup: Backup) -> list[str]:
    return [store for store, reason in backup.copies.items() if not reason]


def _standing(
    backups: list[Backup], stored: list[Backup], verified: Backup | None, now: datetime
) -> Standing:
    ended = [each for each in backups if each.finished_at]
    failed = ended[0] if ended and ended[0].state == BackupState.FAILED else None
    last = stored[0].verifications.first() if stored else None
    return Standing(
        stored_age=now - stored[0].started_at if stored else None,
        verified_age=now - verified.started_at if verified else None,
        failure=failed.reason if failed else None,
        damage=last.reason if last and last.passed is False else None,
        missing=sum(each.state == BackupState.MISSING for each in backups),
    )


def _warnings(
    backups: list[Backup],
    stored: list[Backup],
    standing: Standing,
    now: datetime,
    *,
    is_configured: bool,
) -> Iterator[str]:
    if not is_configured:
        yield "It is not configured any more: no further backup is made."
    elif not settings.ENABLE_AUTOMATED_BACKUPS:
        yield "Automatic backups are switched off (ENABLE_AUTOMATED_BACKUPS)."
    yield from standing.problems() if is_configured else standing.failures()
    for store, reason in stored[0].copies.items() if stored else ():
        if reason:
            yield f"The newest backup is missing in {store}: {reason}"
    for each in backups:
        if each.state == BackupState.QUEUED and now - each.started_at > SLOW_WORKER:
            waits = age_text(now - each.started_at)
            yield f"A backup waits {waits} for a worker: does one serve the queue `recovery`?"


def _days(backups: Iterable[Backup], now: datetime) -> tuple[Day, ...]:
    best: dict[date, DayKind] = {}
    failed: Counter[date] = Counter()
    order = list(DayKind)
    for backup in backups:
        day, kind = backup.started_at.astimezone(UTC).date(), _kind(backup)
        best[day] = min(best.get(day, DayKind.NONE), kind, key=order.index)
        failed[day] += kind is DayKind.FAILED
    today = now.astimezone(UTC).date()
    days = [today - timedelta(days=ago) for ago in range(DAYS - 1, -1, -1)]
    return tuple(Day(day, best.get(day, DayKind.NONE), failed[day]) for day in days)


def _kind(backup: Backup) -> DayKind:
    if backup.state == BackupState.STORED:
        return DayKind.VERIFIED if backup.verified_at else DayKind.STORED
    kinds = {
        BackupState.REMOVED: DayKind.REMOVED,
        BackupState.MISSING: DayKind.MISSING,
        BackupState.FAILED: DayKind.FAILED,
    }
    return kinds.get(BackupState(backup.state), DayKind.NONE)

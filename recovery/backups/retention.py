"""How long backups are kept: a pure function, so that what it would do can be asked and shown.

Ages count from the newest backup, not from the clock: a clock that jumps, or backups that fail
for a month, take nothing away. Stretches of time that nobody watched are not counted at all.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from django.conf import settings

from recovery.exceptions import ConfigurationError

# A century; beyond, dates run out.
MOST_DAYS = 36_500
# Retention runs daily. When nobody ran it for longer, the clock may have been set meanwhile.
LONGEST_BREAK = timedelta(days=3)
MOST_BREAKS = 100


class Rule(StrEnum):
    """Why a backup is kept, or dropped; the first that applies names the decision."""

    CLOCK = "clock"
    UNVERIFIED = "nothing verified"
    PINNED = "pinned"
    NEWEST = "newest"
    LAST_VERIFIED = "last verified"
    YOUNG = "young"
    UNCERTAIN = "age uncertain"
    WEEKLY = "weekly"
    MONTHLY = "monthly"
    EXPIRED = "expired"


@dataclass(frozen=True)
class Candidate:
    """What retention has to know of a stored backup."""

    id: str
    database: str
    taken_at: datetime
    is_verified: bool = False
    is_pinned: bool = False
    kind: str = "logical"
    size: int = 0


@dataclass(frozen=True)
class Policy:
    """For how long; raise `ConfigurationError` naming the setting that makes no sense."""

    days: int
    weekly: int
    monthly: int

    def __post_init__(self) -> None:
        _between("BACKUP_RETENTION_DAYS", self.days, 1)
        _between("BACKUP_KEEP_WEEKLY", self.weekly, 0)
        _between("BACKUP_KEEP_MONTHLY", self.monthly, 0)

    @classmethod
    def configured(cls) -> Policy:
        return cls(
            settings.BACKUP_RETENTION_DAYS,
            settings.BACKUP_KEEP_WEEKLY,
            settings.BACKUP_KEEP_MONTHLY,
        )


@dataclass(frozen=True)
class Break:
    """A stretch by the clock in which retention did not run: so long, or the clock was set."""

    start: datetime
    end: datetime


@dataclass(frozen=True)
class Memory:
    """When retention ran last, and the breaks before that, oldest first."""

    ran_at: datetime | None = None
    breaks: tuple[Break, ...] = ()

    def at(self, now: datetime) -> Memory:
        """Return what to remember when it runs now.

        A break that ends in the future was none: the clock was ahead then, and is set right.
        """
        known = tuple(each for each in self.breaks if each.end <= now)
        if self.ran_at and now - self.ran_at > LONGEST_BREAK:
            known += (Break(self.ran_at, now),)
        return Memory(now, known[-MOST_BREAKS:])


@dataclass(frozen=True)
class Reason:
    rule: Rule
    words: str


@dataclass(frozen=True)
class Decision:
    """A backup and every reason that keeps it, or the one that drops it."""

    backup: Candidate
    reasons: tuple[Reason, ...]

    @property
    def is_kept(self) -> bool:
        return self.reasons[0].rule is not Rule.EXPIRED

    @property
    def words(self) -> str:
        return "; ".join(reason.words for reason in self.reasons)


def decide(
    backups: Iterable[Candidate], policy: Policy, now: datetime, breaks: Sequence[Break] = ()
) -> list[Decision]:
    """Decide for each backup, newest first within its database and kind.

    Databases do not concern each other, nor do kinds. What remains after all that was dropped is
    gone is decided the same again.
    """

    alike: dict[tuple[str, str], list[Candidate]] = {}
    for backup in sorted(backups, key=lambda each: (each.taken_at, each.id), reverse=True):
        alike.setdefault((backup.database, backup.kind), []).append(backup)
    return [
        decision
        for whose in sorted(alike)
        for decision in _decide(alike[whose], policy, now, breaks)
    ]


def _decide(
    backups: list[Candidate], policy: Policy, now: datetime, breaks: Sequence[Break]
) -> list[Decision]:
    """Decide about the backups of one database and kind, the newest first."""
    if hold := _hold(backups, now):
        return [Decision(backup, (hold,)) for backup in backups]
    reasons: dict[str, list[Reason]] = {backup.id: [] for backup in backups}
    for reason, kept in (
        *_unconditional(backups),
        *_by_age(backups, policy, breaks),
        *_newest_of_each("week", Rule.WEEKLY, backups, policy.weekly, _week),
        *_newest_of_each("month", Rule.MONTHLY, backups, policy.monthly, _month),
    ):
        reasons[kept.id].append(reason)
    return [
        Decision(backup, tuple(reasons[backup.id]) or (_expired(backup, backups[0], policy),))
        for backup in backups
    ]


def _hold(backups: list[Candidate], now: datetime) -> Reason | None:
    """Tell why nothing at all of a database may be dropped."""
    newest = backups[0]
    if newest.taken_at > now:
        return Reason(
            Rule.CLOCK,
            f"the clock ({_moment(now)}) is before the newest backup, {newest.id}: one of both "
            "times is wrong, and nothing is dropped until it is not",
        )
    if not any(backup.is_verified for backup in backups):
        return Reason(
            Rule.UNVERIFIED,
            "no backup of the database was restored and compared yet, so none is dropped",
        )
    return None


def _unconditional(backups: list[Candidate]) -> list[tuple[Reason, Candidate]]:
    verified = next(backup for backup in backups if backup.is_verified)
    return [
        *((Reason(Rule.PINNED, "pinned"), each) for each in backups if each.is_pinned),
        (Reason(Rule.NEWEST, "the newest of its database"), backups[0]),
        (Reason(Rule.LAST_VERIFIED, "the last that was verified by a restore"), verified),
    ]


def _by_age(
    backups: list[Candidate], policy: Policy, breaks: Sequence[Break]
) -> list[tuple[Reason, Candidate]]:
    """Keep what is younger than the policy's days, and what may be."""
    newest, least, kept = backups[0].taken_at, timedelta(days=policy.days), []
    for backup in backups:
        age = newest - backup.taken_at
        certain = age - _unwatched(backup.taken_at, newest, breaks)
        if age < least:
            words = f"younger than {policy.days} days, counted from the newest"
            kept.append((Reason(Rule.YOUNG, words), backup))
        elif certain < least:
            words = (
                f"only {certain.days} of its {age.days} days are certain: in between retention did "
                "not run for days, or the clock was set"
            )
            kept.append((Reason(Rule.UNCERTAIN, words), backup))
    return kept


def _unwatched(start: datetime, end: datetime, breaks: Sequence[Break]) -> timedelta:
    """Add up what of a stretch lies in breaks, which do not overlap."""
    parts = (min(each.end, end) - max(each.start, start) for each in breaks)
    return sum((part for part in parts if part > timedelta(0)), timedelta(0))


def _newest_of_each(
    unit: str,
    rule: Rule,
    backups: list[Candidate],
    count: int,
    period: Callable[[datetime], tuple[Hashable, str]],
) -> list[tuple[Reason, Candidate]]:
    """Keep the newest of each of the last periods that have backups; empty ones do not count."""
    newest: dict[Hashable, tuple[Reason, Candidate]] = {}
    for backup in backups:
        key, name = period(backup.taken_at.astimezone(UTC))
        words = f"the newest of {unit} {name}, one of the last {count} that have backups"
        newest.setdefault(key, (Reason(rule, words), backup))
    return list(newest.values())[:count]


def _week(moment: datetime) -> tuple[Hashable, str]:
    year, week, _ = moment.isocalendar()
    return (year, week), f"{year}-W{week:02}"


def _month(moment: datetime) -> tuple[Hashable, str]:
    return (moment.year, moment.month), f"{moment:%Y-%m}"


def _expired(backup: Candidate, newest: Candidate, policy: Policy) -> Reason:
    age = newest.taken_at - backup.taken_at
    return Reason(
        Rule.EXPIRED,
        f"{age.days} days older than the newest; {policy.days} days, {policy.weekly} weeks and "
        f"{policy.monthly} months are kept, and no other rule keeps it",
    )


def _between(setting: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= MOST_DAYS:
        raise ConfigurationError(
            f"{setting} must be a whole number from {least} to {MOST_DAYS}, not {value!r}."
        )


def _moment(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"

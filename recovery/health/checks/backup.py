from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

from recovery.databases import CONSOLE
from recovery.health.results import Degraded, Figures, Status, Unhealthy
from recovery.health.session import Refused, session

# Daily, and a night's delay; verified weekly, and a day's.
OLDEST_STORED = timedelta(hours=26).total_seconds()
OLDEST_VERIFIED = timedelta(days=8).total_seconds()
AGES = f"""
SELECT extract(epoch FROM now() - max(finished_at))::bigint,
       extract(epoch FROM now() - max(finished_at) FILTER (WHERE verified_at IS NOT NULL))::bigint,
       (SELECT extract(epoch FROM now() - min(applied))::bigint FROM django_migrations)
FROM recovery_backup WHERE state = 'stored' AND database = '{CONSOLE}'
"""  # noqa: S608 - a constant


@dataclass(frozen=True)
class Ages:
    """Seconds since the newest backup, the newest verified one, and the first migration."""

    stored: int | None
    verified: int | None
    console: int

    def problem(self) -> str:
        """Say what is missing or too old, "" when nothing is; a new console has time to begin."""
        if self.stored is None and self.console > OLDEST_STORED:
            return "There is no backup yet."
        if self.stored is not None and self.stored > OLDEST_STORED:
            return "The newest backup is older than a day."
        if self.verified is None and self.console > OLDEST_VERIFIED:
            return "No backup has been verified by a restore yet."
        if self.verified is not None and self.verified > OLDEST_VERIFIED:
            return "The newest verified backup is older than a week."
        return ""


@dataclass(frozen=True)
class Backup:
    """The console's own database has a young backup, and a verified one; never worse than degraded.

    Without a backup the console does its work all the same. Ages are those of what is in the
    backup: one that was verified today and made last month is a month old.
    """

    name: ClassVar[str] = "backup"
    when_silent: ClassVar[Status] = Status.DEGRADED

    def run(self, deadline: float) -> Figures:
        ages = _ages(deadline)
        figures: Figures = {
            "stored_age_seconds": ages.stored,
            "verified_age_seconds": ages.verified,
        }
        if problem := ages.problem():
            raise Degraded(problem, figures)
        return figures


def _ages(deadline: float) -> Ages:
    try:
        with session(deadline) as connected:
            ((stored, verified, console),) = connected.ask(AGES)
    except (Refused, Unhealthy):
        raise Degraded("Not known: the database cannot be asked.") from None
    return Ages(
        stored=None if stored is None else int(stored),
        verified=None if verified is None else int(verified),
        console=int(console or 0),
    )

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

from recovery.databases import CONSOLE
from recovery.health.results import Degraded, Figures, Status, Unhealthy
from recovery.health.session import Refused, session

# Daily, and a night's delay; verified weekly, and a day's.
OLDEST_STORED = timedelta(hours=26)
OLDEST_VERIFIED = timedelta(days=8)
AGES = f"""
SELECT extract(epoch FROM now() - max(finished_at))::bigint,
       extract(epoch FROM now() - max(finished_at) FILTER (WHERE verified_at IS NOT NULL))::bigint
FROM recovery_backup WHERE state = 'stored' AND database = '{CONSOLE}'
"""  # noqa: S608 - a constant


@dataclass(frozen=True)
class Backup:
    """The console's own database has a young backup, and a verified one; never worse than degraded.

    Without a backup the console does its work all the same. Ages are those of what is in the
    backup: one that was verified today and made last month is a month old.
    """

    name: ClassVar[str] = "backup"
    when_silent: ClassVar[Status] = Status.DEGRADED

    def run(self, deadline: float) -> Figures:
        figures = _ages(deadline)
        stored, verified = figures["stored_age_seconds"], figures["verified_age_seconds"]
        if stored is None:
            raise Degraded("There is no backup yet.", figures)
        if stored > OLDEST_STORED.total_seconds():
            raise Degraded("The newest backup is older than a day.", figures)
        if verified is None:
            raise Degraded("No backup has been verified by a restore yet.", figures)
        if verified > OLDEST_VERIFIED.total_seconds():
            raise Degraded("The newest verified backup is older than a week.", figures)
        return figures


def _ages(deadline: float) -> Figures:
    try:
        with session(deadline) as connected:
            ((stored, verified),) = connected.ask(AGES)
    except (Refused, Unhealthy):
        raise Degraded("Not known: the database cannot be asked.") from None
    return {
        "stored_age_seconds": None if stored is None else int(stored),
        "verified_age_seconds": None if verified is None else int(verified),
    }

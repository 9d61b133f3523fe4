from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

from recovery.backups.standing import Standing
from recovery.databases import databases
from recovery.exceptions import ConfigurationError
from recovery.health.results import Degraded, Figures, Status, Unhealthy
from recovery.health.session import Refused, session

# A row for each database of which something is known, or one without a name.
KNOWN = """
SELECT extract(epoch FROM now() - console.since)::bigint, backup.database, backup.known_for,
       backup.stored, backup.verified, backup.failed, backup.missing, verification.passed
FROM (SELECT min(applied) AS since FROM django_migrations) AS console
LEFT JOIN (
    SELECT database,
           extract(epoch FROM now() - min(started_at))::bigint AS known_for,
           count(*) FILTER (WHERE state = 'missing') AS missing,
           extract(epoch FROM now() - max(started_at) FILTER (WHERE state = 'stored'))::bigint
               AS stored,
           extract(epoch FROM now() - max(started_at)
               FILTER (WHERE state = 'stored' AND verified_at IS NOT NULL))::bigint AS verified,
           (array_agg(state ORDER BY started_at DESC, id DESC)
               FILTER (WHERE finished_at IS NOT NULL))[1] = 'failed' AS failed,
           (array_agg(id ORDER BY started_at DESC, id DESC) FILTER (WHERE state = 'stored'))[1]
               AS newest
    FROM recovery_backup WHERE kind = 'logical' GROUP BY database
) AS backup ON true
LEFT JOIN LATERAL (
    SELECT passed FROM recovery_verification WHERE backup_id = backup.newest
    ORDER BY started_at DESC, id DESC LIMIT 1
) AS verification ON true
"""


@dataclass(frozen=True)
class Known:
    """How a database's backups stand, and how long it is known: since its first attempt.

    One without any attempt is taken to be as old as the console.
    """

    standing: Standing
    known_for: timedelta

    def problems(self) -> list[str]:
        return self.standing.problems(self.known_for)


@dataclass(frozen=True)
class Backup:
    """Every configured database has a young backup, and a verified one; never worse than degraded.

    Without a backup the console does its work all the same.
    """

    name: ClassVar[str] = "backup"
    when_silent: ClassVar[Status] = Status.DEGRADED

    def run(self, deadline: float) -> Figures:
        try:
            names = list(databases())
        except ConfigurationError as exc:
            raise Degraded(f"No backup can be made: {exc}") from None
        console_age, known = _known(deadline)
        standings = {name: known.get(name, Known(Standing(), console_age)) for name in names}
        amiss = {name: said for name, each in standings.items() if (said := each.problems())}
        figures: Figures = {
            "databases": len(names),
            "databases_amiss": len(amiss),
            "stored_age_seconds": _worst(each.standing.stored_age for each in standings.values()),
            "verified_age_seconds": _worst(
                each.standing.verified_age for each in standings.values()
            ),
        }
        if amiss:
            raise Degraded(" ".join(_said(name, said) for name, said in amiss.items()), figures)
        return figures


def _known(deadline: float) -> tuple[timedelta, dict[str, Known]]:
    """Return the console's age, and what is known by the names of databases."""
    try:
        with session(deadline) as connected:
            rows = connected.ask(KNOWN)
    except (Refused, Unhealthy):
        raise Degraded("Not known: the database cannot be asked.") from None
    console_age = _age(rows[0][0]) or timedelta(0)
    return console_age, {name.decode(): _from_row(*row) for _, name, *row in rows if name}


def _from_row(
    known_for: bytes | None,
    stored: bytes | None,
    verified: bytes | None,
    failed: bytes | None,
    missing: bytes | None,
    passed: bytes | None,
) -> Known:
    """Read a row; reasons stay in the catalogue, for they may name hosts."""
    standing = Standing(
        stored_age=_age(stored),
        verified_age=_age(verified),
        failure="" if failed == b"t" else None,
        damage="" if passed == b"f" else None,
        missing=int(missing or 0),
    )
    return Known(standing, _age(known_for) or timedelta(0))


def _age(seconds: bytes | None) -> timedelta | None:
    return None if seconds is None else timedelta(seconds=int(seconds))


def _worst(ages: Iterable[timedelta | None]) -> float | None:
    known = [age.total_seconds() for age in ages if age is not None]
    return round(max(known)) if known else None


def _said(name: str, problems: list[str]) -> str:
    """Return what is amiss with a database as one sentence."""
    said = "; ".join(problem[0].lower() + problem[1:].rstrip(".") for problem in problems)
    return f"{name}: {said}."

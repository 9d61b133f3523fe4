"""How far back and how near to now one could go: what metrics, health and the command show.

The recovery point is a moment of the server's clock by which everything that was committed is
in the archive, behind a base backup and without a gap. It is found by comparing where the
server's log ended then with where the files end, so an idle server is never behind.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise

from recovery.databases import CONSOLE, Database, database, typed
from recovery.exceptions import RecoveryError, ServerAwayError
from recovery.physical import configured, server
from recovery.physical.builtin import BuiltIn
from recovery.physical.engine import BaseBackup, Engine, Span, time_text
from recovery.physical.log_files import Gap
from recovery.physical.receiver import blocks, risks
from recovery.physical.server import Observation
from recovery.physical.wal import lsn_text

# Scrapes come more often than anything changes, and reading looks at every file.
FRESH_SECONDS = 15.0
# A server that is frozen is given up by then.
PATIENCE_SECONDS = 6.0
# The objective: what is older and not archived would be lost.
LONGEST_BEHIND_SECONDS = 300.0


@dataclass(frozen=True)
class PhysicalStatus:
    """None where it is not known: no base backup yet, or the server does not answer."""

    engine: str
    recovery_point_at: datetime | None
    recovery_point_age_seconds: float | None
    # Where the archive ends: "0/3000148".
    archive_end: str | None
    gaps: int
    slot_retained_bytes: int | None
    receiving: bool | None
    last_base_backup_at: datetime | None
    # Sentences for people: what is lost or not received, gaps among them.
    problems: tuple[str, ...]
    # What may become a problem.
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Look:
    """What one look at an archive and its server found."""

    # When that was, by this machine's clock.
    at: datetime
    status: PhysicalStatus
    covered: tuple[Span, ...] = ()
    gaps: tuple[Gap, ...] = ()
    backups: tuple[BaseBackup, ...] = ()


# One look at a server at a time, which all who ask meanwhile wait for.
_looks: dict[str, tuple[float, Future[Look]]] = {}
_guard = threading.Lock()
_lookers = ThreadPoolExecutor(max_workers=4, thread_name_prefix="recovery-point")


def status(name: str = CONSOLE) -> PhysicalStatus | None:
    """Return the status of a server's archive, at most 15 s old; None when none is configured.

    Never raises `RecoveryError` and never waits for a frozen server for more than some seconds:
    what is wrong is among the problems.
    """
    if not configured.is_configured():
        return None
    return _looking(name).result().status


def looks() -> dict[str, Look | None]:
    """Look at every server that has an archive, as `status` does.

    None for one of which nothing is known within some seconds. Raise `ConfigurationError`.
    """
    looking = {name: _looking(name) for name in configured.servers()}
    wait(looking.values(), timeout=PATIENCE_SECONDS)
    return {name: each.result() if each.done() else None for name, each in looking.items()}


def _looking(name: str) -> Future[Look]:
    """Return the look that is under way or fresh, else begin one."""
    with _guard:
        began, looking = _looks.get(name, (0.0, None))
        is_old = time.monotonic() - began > FRESH_SECONDS
        if looking is None or (looking.done() and is_old):
            looking = _lookers.submit(_look, name)
            _looks[name] = (time.monotonic(), looking)
        return looking


def _look(name: str) -> Look:
    try:
        return look(configured.engine(name), database(name))
    except RecoveryError as exc:
        nothing = PhysicalStatus("", None, None, None, 0, None, None, None, (str(exc),))
        return Look(datetime.now(UTC), nothing)


def current(engine: Engine, server_of: Database) -> PhysicalStatus:
    """Look now; raise `RecoveryError` when the archive cannot be read."""
    return look(engine, server_of).status


def look(engine: Engine, server_of: Database) -> Look:
    """Look now, with what the status was made from; raise `RecoveryError` likewise."""
    at = datetime.now(UTC)
    seen, away = _observe(engine, server_of)
    problems = [*engine.check(), *away]
    spans, backups = engine.covered(), engine.backups()
    point = _recovery_point(spans[-1] if spans else None, seen)
    # The point is of the server's clock.
    asked_at = seen.at if seen else at
    age = max(0.0, (asked_at - point).total_seconds()) if point else None
    gaps: tuple[Gap, ...] = ()
    end = None
    if isinstance(engine, BuiltIn):
        gaps, end = engine.gaps(), engine.archive.newest()
        problems += _receiving_problems(seen, server_of, age)
    status = PhysicalStatus(
        engine=engine.name,
        recovery_point_at=point,
        recovery_point_age_seconds=age,
        archive_end=lsn_text(end) if end else None,
        gaps=len(gaps),
        slot_retained_bytes=seen.retained_bytes if seen else None,
        receiving=seen.receiving if seen else None,
        last_base_backup_at=backups[-1].finished_at if backups else None,
        problems=tuple(problems),
        warnings=(*(risks(seen) if seen else ()), *_unreached(spans)),
    )
    return Look(at, status, tuple(spans), gaps, tuple(backups))


def _observe(engine: Engine, server_of: Database) -> tuple[Observation | None, list[str]]:
    # Of one that this process cannot ask, the files alone tell.
    if not isinstance(engine, BuiltIn) or server_of.is_known_by_name_only:
        return None, []
    try:
        return server.observe(server_of), []
    except ServerAwayError as exc:
        return None, [str(exc)]


def _recovery_point(span: Span | None, seen: Observation | None) -> datetime | None:
    if span is None:
        return None
    # All that the server had durably written when we asked is there.
    if seen and span.until >= seen.position:
        return seen.at
    return span.until_at


def _unreached(spans: Sequence[Span]) -> Iterator[str]:
    """Name the times in gaps that a newer base backup has ended."""
    for before, behind in pairwise(spans):
        yield (
            f"No moment between {time_text(before.until_at)} and {time_text(behind.since_at)} can "
            "be gone back to: the log had a gap until a base backup was made."
        )


def _receiving_problems(
    seen: Observation | None, server_of: Database, age: float | None
) -> list[str]:
    behind = []
    if age is not None and age > LONGEST_BEHIND_SECONDS:
        behind = [f"The archive is {age / 60:.0f} minutes behind the server."]
    if seen is None:
        # One that is away writes nothing either.
        return behind if server_of.is_known_by_name_only else []
    found, receiving = blocks(seen, server_of), typed("wal_archive run", server_of.name)
    if not seen.has_slot:
        found.append(f"The server has no slot for the archive: {receiving} makes it.")
    elif seen.slot_status == "lost":
        found.append("The server has given up the slot: log that was not received is lost.")
    elif not seen.receiving:
        found.append(f"Nothing receives the log: start {receiving}.")
    else:
        found += behind
    return found

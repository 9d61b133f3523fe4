"""Go back to a moment: a new server in a folder of its own, beside everything that runs."""

from __future__ import annotations

import os
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from compliance_site.foundation.embedded import ports
from compliance_site.foundation.embedded.locks import try_exclusive
from recovery.exceptions import BusyError, RefusedError
from recovery.physical import cluster
from recovery.physical.accounts import Account, require_reach
from recovery.physical.cluster import Recovered
from recovery.physical.engine import Engine, Plan, Target, TargetKind
from recovery.physical.wal import parse_lsn
from recovery.programs import programs_for

# In a folder with this file a restore has begun and not ended; the next one may clear it.
UNFINISHED = "PITR_UNFINISHED"
DRAFT = ".pitr_draft"
LONGEST_NAME = 63

Say = Callable[[str], None]


@dataclass(frozen=True)
class Outcome:
    """A server that was restored and runs."""

    folder: Path
    port: int
    plan: Plan
    recovered: Recovered
    # All that was committed by then is there.
    complete_until: datetime | None
    began_at: datetime
    seconds: float
    # How it is stopped, and started again: command lines for whoever restored it.
    stop: str
    start: str

    @property
    def behind_seconds(self) -> float | None:
        """Return how old the archive's last moment was when this began; None for another target."""
        if self.plan.target.kind is not TargetKind.LATEST or self.complete_until is None:
            return None
        return max(0.0, (self.began_at - self.complete_until).total_seconds())


def parse_target(*, to: str, to_lsn: str, to_name: str, latest: bool) -> Target:
    """Read the target that was asked for; raise `RefusedError` unless it is exactly one."""
    if sum(map(bool, (to, to_lsn, to_name, latest))) != 1:
        raise RefusedError("Say where to go back to: one of --to, --to-lsn, --to-name, --latest.")
    if to:
        return Target(TargetKind.TIME, at=_time(to))
    if to_name:
        if len(to_name.encode()) > LONGEST_NAME or not to_name.isprintable():
            raise RefusedError(f"--to-name: a point's name has at most {LONGEST_NAME} bytes.")
        return Target(TargetKind.NAME, point=to_name)
    if to_lsn:
        try:
            return Target(TargetKind.LSN, position=parse_lsn(to_lsn))
        except ValueError as exc:
            raise RefusedError(f"--to-lsn: {exc}.") from None
    return Target(TargetKind.LATEST)


def restore(engine: Engine, target: Target, into: Path, say: Say, port: int = 0) -> Outcome:
    """Restore into a new or empty folder and leave the server running there.

    Refused before anything is made: a target that is not covered, a folder with something in it,
    too small a disk. Interrupted at any point, the same call begins again.
    """
    began, began_at, into = time.monotonic(), datetime.now(UTC), Path(os.path.abspath(into))
    plan, identity, account = engine.plan(target), engine.identity(), engine.account()
    programs = programs_for(identity.server_version)
    port = port or ports.choose()
    if not ports.is_free(port):
        raise RefusedError(f"--port: something listens on {port} already.")
    with _folder(into, account, plan) as draft:
        say(f"Restoring base backup {plan.backup.id} ({plan.backup.kind}) into {into}.")
        recovery = engine.lay_out(plan, draft, into, account)
        _move_up(draft, into)
        cluster.prepare(into, identity.user, account)
        options = cluster.capacities(into, programs, account)
        options |= cluster.settings(into, port, recovery)
        process = cluster.launch(into, programs, account, options)
        say(f"Replaying the log on port {port}; its progress is in {into / cluster.LOG}.")
        recovered = cluster.wait(process, into, port, identity.user)
    return Outcome(
        folder=into,
        port=port,
        plan=plan,
        recovered=recovered,
        complete_until=_complete_until(plan, recovered),
        began_at=began_at,
        seconds=time.monotonic() - began,
        stop=cluster.command_line("stop", into, programs, account),
        start=cluster.command_line("restart", into, programs, account),
    )


@contextmanager
def _folder(into: Path, account: Account, plan: Plan) -> Iterator[Path]:
    """Lend an empty folder inside the target's, which is marked until all is done."""
    _require_usable(into, account, plan)
    made = not into.exists()
    if made:
        into.mkdir(mode=0o700)
    marker = os.open(
        into / UNFINISHED, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
    )
    try:
        if not try_exclusive(marker):
            raise BusyError(f"Another process is restoring into {into}.")
        _clear(into)
        account.own(into)
        into.chmod(0o700)
        draft = into / DRAFT
        draft.mkdir(mode=0o700)
        account.own(draft)
        yield draft
        (into / UNFINISHED).unlink()
    finally:
        os.close(marker)


def _require_usable(into: Path, account: Account, plan: Plan) -> None:
    if len(os.fsencode(into)) > cluster.LONGEST_FOLDER:
        raise RefusedError(
            f"--into: the path may have {cluster.LONGEST_FOLDER} bytes, for the server's socket."
        )
    if into.is_symlink() or (into.exists() and not stat.S_ISDIR(into.stat().st_mode)):
        raise RefusedError(f"--into: {into} is no folder.")
    if not into.parent.is_dir():
        raise RefusedError(f"--into: there is no folder {into.parent}.")
    if into.exists() and any(into.iterdir()) and not (into / UNFINISHED).is_file():
        raise RefusedError(f"--into: {into} is not empty.")
    require_reach(into.parent, account, "--into")
    free = shutil.disk_usage(into.parent if not into.exists() else into).free
    if free < plan.bytes_needed:
        raise RefusedError(
            f"--into: {into} has {free:,} bytes free; the base backup alone takes "
            f"{plan.bytes_needed:,}."
        )


def _clear(into: Path) -> None:
    """Remove what an interrupted restore left, its server first."""
    cluster.stop(into)
    for each in into.iterdir():
        if each.name == UNFINISHED:
            continue
        if each.is_dir() and not each.is_symlink():
            shutil.rmtree(each)
        else:
            each.unlink()


def _move_up(draft: Path, into: Path) -> None:
    for each in draft.iterdir():
        each.rename(into / each.name)
    draft.rmdir()


def _complete_until(plan: Plan, recovered: Recovered) -> datetime | None:
    if plan.target.at is not None:
        return plan.target.at
    if plan.target.kind is TargetKind.LATEST:
        return max(plan.span.until_at, recovered.at or plan.span.until_at)
    return recovered.at


def _time(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise RefusedError(
            '--to: a time looks like "2026-11-23 14:30:00" (UTC) or "2026-11-23T15:30:00+01:00".'
        ) from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)

"""Receive the server's log as it is written: `pg_receivewal` on a slot, started again when it ends.

With `--synchronous` it flushes at once, so it can be the server's synchronous standby: what is
acknowledged then is in the archive. The slot makes the server keep what was not received yet.
"""

from __future__ import annotations

import ctypes
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from recovery.databases import Database, typed
from recovery.exceptions import ProgramError, ServerAwayError
from recovery.physical import samples, server
from recovery.physical.accounts import own_folder, start
from recovery.physical.archive import PARTIAL, Archive
from recovery.physical.server import Observation, slot_name
from recovery.physical.wal import Segment, first_page, lsn_text, parse_history
from recovery.programs import complaint, programs_for

Say = Callable[[str], None]

TICK_SECONDS = 0.2
REMOVED = re.compile(r"requested WAL segment \w+ has already been removed")
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
DIE_WITH_PARENT = 1


@dataclass(frozen=True)
class Pace:
    """Seconds: between samples, without progress until a new start, and between attempts."""

    sample: float = 10.0
    stall: float = 60.0
    first_delay: float = 1.0
    longest_delay: float = 30.0


PACE = Pace()


def run(database: Database, archive: Archive, say: Say, pace: Pace = PACE) -> None:
    """Receive until a signal says stop; from the main thread.

    Raise `BusyError` when another process receives, `RefusedError` for another server's archive.
    """
    archive.make()
    lock = archive.lock("receiver", "receiving log")
    delay = pace.first_delay
    try:
        with _stopped_by_signals() as stopping:
            while not stopping.is_set():
                began = time.monotonic()
                try:
                    _receive(database, archive, say, pace, stopping)
                except (ServerAwayError, ProgramError, OSError) as exc:
                    if time.monotonic() - began > pace.stall:
                        delay = pace.first_delay
                    say(f"{_reason(exc)} Trying again in {delay:g} s.")
                    stopping.wait(delay)
                    delay = min(delay * 2, pace.longest_delay)
    finally:
        os.close(lock)


def risks(seen: Observation) -> list[str]:
    """Return what is set on the server so that an outage of the archive would endanger it."""
    if seen.slot_limit != "-1":
        return []
    return [
        "max_slot_wal_keep_size is unlimited: while nothing receives the log, the server keeps "
        "all of it until its disk is full. Limit it, to what an outage of the archive may take."
    ]


def blocks(seen: Observation, database: Database) -> list[str]:
    """Return what is set on the server so that the archive stops its work."""
    if seen.synchronous_commit == "remote_apply" and slot_name(database) in seen.synchronous_names:
        return [
            "synchronous_commit is remote_apply, and the archive, which applies nothing, is a "
            "synchronous standby: commits wait for ever. Set it to on."
        ]
    return []


def _receive(
    database: Database, archive: Archive, say: Say, pace: Pace, stopping: threading.Event
) -> None:
    identity = server.identify(database)
    archive.claim(identity)
    _prepare_slot(database, say)
    seen = server.observe(database)
    for concern in [*risks(seen), *blocks(seen, database)]:
        say(f"WARNING: {concern}")
    _mend_unfinished(archive, identity.segment_size)
    program = programs_for(identity.server_version).path("pg_receivewal")
    with tempfile.TemporaryFile() as stderr:
        process = start(
            _command(program, database, archive),
            stderr,
            account=archive.account,
            database=database,
            environment={"PGAPPNAME": slot_name(database)},
            stdout=subprocess.DEVNULL,
            preexec_fn=_end_with_parent,
        )
        say(f"Receiving log into {archive.wal} (process {process.pid}).")
        try:
            _tend(process, database, archive, pace, stopping)
        finally:
            _end(process)
        if stopping.is_set():
            return
        error = complaint("pg_receivewal", process.returncode, stderr)
    if REMOVED.search(str(error)):
        _begin_anew(database, archive, say)
    elif (fork := _fork(database, archive)) is not None:
        _follow(database, archive, fork, say)
    raise error


def _command(program: Path, database: Database, archive: Archive) -> list[str | Path]:
    return [
        program,
        *(f"--directory={archive.wal}", f"--slot={slot_name(database)}"),
        *("--synchronous", "--no-loop", "--no-password", "--status-interval=5"),
    ]


def _prepare_slot(database: Database, say: Say) -> None:
    seen = server.observe(database)
    if seen.slot_status == "lost":
        say(f"The slot {slot_name(database)} was given up by the server: its limit was reached.")
        server.drop_slot(database)
    if not seen.has_slot or seen.slot_status == "lost":
        server.make_slot(database)
        say(f"Made the slot {slot_name(database)}.")


def _mend_unfinished(archive: Archive, size: int) -> None:
    """Give a segment's file its size again, which a full disk kept it from getting.

    `pg_receivewal` makes each at full size before it writes, and refuses for ever to go on with
    one that is shorter.
    """
    for file in archive.wal.glob(f"*{PARTIAL}"):
        if not file.is_symlink() and 0 < file.stat().st_size < size:
            os.truncate(file, size if first_page(file) else 0)


def _begin_anew(database: Database, archive: Archive, say: Say) -> None:
    """Leave a gap where the server has removed log that was never received.

    `pg_receivewal` goes on behind its newest file, so it gets an empty one to go on in, like
    those that it makes itself.
    """
    position = server.slot_position(database)
    size = archive.identity().segment_size
    if position is None or position // size <= archive.newest() // size:
        return
    _begin_at(archive, Segment(server.timeline(database), position // size), size)
    say(
        f"The log before {lsn_text(position)} is lost to the archive: there is a GAP. Make a new "
        f"base backup ({typed('base_backup create', database.name)})."
    )


def _fork(database: Database, archive: Archive) -> int | None:
    """Return where a promoted server left the archive's timeline; None when it is still on it."""
    line, timeline = archive.contents().line(), server.timeline(database)
    if line is None or timeline <= line.timeline:
        return None
    ancestors = dict(parse_history(server.history(database, timeline)))
    return ancestors.get(line.timeline)


def _follow(database: Database, archive: Archive, fork: int, say: Say) -> None:
    """Follow a promoted server that lacks the end of what was archived from the one before it.

    That end is on a branch that nobody goes on with; it is set aside, not removed.
    """
    size = archive.identity().segment_size
    aside = archive.folder / "aside"
    own_folder(aside, archive.account)
    for segment in archive.contents().segments:
        file = archive.file(segment, size)
        if segment.number > fork // size:
            file.rename(aside / file.name)
    _begin_at(archive, Segment(server.timeline(database), fork // size), size)
    say(
        f"WARNING: the server was promoted at {lsn_text(fork)}. What was archived behind that from "
        f"the server before it is set aside in {aside}: it may hold commits that are lost."
    )


def _begin_at(archive: Archive, segment: Segment, size: int) -> None:
    file = archive.wal / (segment.name(size) + PARTIAL)
    with open(os.open(file, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as opened:
        opened.truncate(size)
    archive.account.own(file)


def _tend(
    process: subprocess.Popen[bytes],
    database: Database,
    archive: Archive,
    pace: Pace,
    stopping: threading.Event,
) -> None:
    """Take samples until the program ends; raise `ProgramError` when it does nothing any more."""
    due, waited_for = 0.0, None
    while process.poll() is None and not stopping.wait(TICK_SECONDS):
        if time.monotonic() < due:
            continue
        due = time.monotonic() + pace.sample
        sample = samples.take(archive.samples, database, archive.account)
        if sample is None:
            continue
        if waited_for is None or archive.newest() >= waited_for[0]:
            waited_for = (sample.position, time.monotonic())
        elif time.monotonic() - waited_for[1] > pace.stall:
            raise ProgramError(f"pg_receivewal has received nothing for {pace.stall:.0f} s.")


def _end(process: subprocess.Popen[bytes]) -> None:
    # One that is frozen does not end at SIGINT, and nothing is lost by killing it.
    process.send_signal(signal.SIGINT)
    try:
        process.wait(2)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _reason(exc: Exception) -> str:
    if isinstance(exc, OSError):
        return f"The archive cannot be written: {exc.strerror} ({exc.filename})."
    return str(exc)


def _end_with_parent() -> None:
    """Have the kernel end the program when we are killed; only Linux can."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGTERM)


@contextmanager
def _stopped_by_signals() -> Iterator[threading.Event]:
    stopping = threading.Event()
    before = [(each, signal.signal(each, lambda *_: stopping.set())) for each in SIGNALS]
    try:
        yield stopping
    finally:
        for number, handler in before:
            signal.signal(number, handler)

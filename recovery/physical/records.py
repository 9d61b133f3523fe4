"""What stands in the archived log, read with PostgreSQL's own `pg_waldump`.

PostgreSQL ends a recovery with an error when it meets nothing at or after its target: on an idle
server a time or position may be covered and still have no record behind it. So we look first.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from recovery.exceptions import ProgramError
from recovery.physical.accounts import Account, start
from recovery.physical.archive import Archive
from recovery.physical.log_files import Survey
from recovery.physical.wal import Segment, lsn_text, parse_lsn
from recovery.programs import complaint, programs_for

ENDED = re.compile(r"desc: (?:COMMIT|ABORT)\S* .*?(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?) UTC")
POINT = re.compile(r"lsn: (\S+), .*desc: RESTORE_POINT (.*)")
# What it says where the log ends; any other complaint is one.
END_OF_LOG = re.compile(
    r"error in WAL record at|could not find a valid record after|could not find file|"
    r"could not read from (?:log|file)|invalid (?:record length|magic number)|no valid WAL"
)


@dataclass(frozen=True)
class Log:
    """A run of segments by the names that `pg_waldump` expects, in a folder of links."""

    folder: Path
    timeline: int
    size: int
    # Where the last segment ends: looking for another one, `pg_waldump` waits for 5 seconds.
    until: int
    program: Path
    account: Account


@contextmanager
def log(
    archive: Archive, survey: Survey, since: int, until: int, frozen: Path | None = None
) -> Iterator[Log]:
    """Lend the log between two positions as if one timeline had written it.

    A segment in `frozen` counts instead of the archive's own.
    """
    identity, account = archive.identity(), archive.account
    size, timeline = identity.segment_size, survey.line.timeline
    with tempfile.TemporaryDirectory(prefix="pitr-log-") as name:
        folder = Path(name)
        account.own(folder)
        for number in range(since // size, (until - 1) // size + 1):
            owner = survey.line.owner(number)
            held = frozen / owner.name(size) if frozen else None
            file = held if held and held.exists() else archive.file(owner, size)
            (folder / Segment(timeline, number).name(size)).symlink_to(file)
        program = programs_for(identity.server_version).path("pg_waldump")
        yield Log(folder, timeline, size, -(-until // size) * size, program, account)


def has_record_from(held: Log, position: int) -> bool:
    """Say whether a record begins at a position or behind it."""
    return any(True for _ in _lines(held, position))


def has_end_after(held: Log, at: datetime, position: int) -> bool:
    """Say whether a transaction ended later than a time, looking from a position on."""
    for line in _lines(held, position, "--rmgr=Transaction"):
        found = ENDED.search(line)
        if found and datetime.fromisoformat(f"{found[1]}+00:00") > at:
            return True
    return False


def last_end(held: Log, position: int) -> datetime | None:
    """Return when the last transaction ended; None when none did from the position on."""
    last = None
    for line in _lines(held, position, "--rmgr=Transaction"):
        if found := ENDED.search(line):
            last = datetime.fromisoformat(f"{found[1]}+00:00")
    return last


def points(held: Log, name: str, position: int) -> list[int]:
    """Return where points of a name were made, from a position on."""
    found = (POINT.search(line) for line in _lines(held, position, "--rmgr=XLOG"))
    return [parse_lsn(each[1]) for each in found if each and each[2] == name]


def _lines(held: Log, position: int, *options: str) -> Iterator[str]:
    """Yield the records' lines; raise `ProgramError` when it is not the end that stops us."""
    command: list[str | Path] = [
        held.program,
        f"--path={held.folder}",
        f"--timeline={held.timeline}",
    ]
    command += [f"--start={lsn_text(position)}", f"--end={lsn_text(held.until)}", *options]
    with tempfile.TemporaryFile() as stderr:
        process = start(command, stderr, account=held.account, stdout=subprocess.PIPE)
        assert process.stdout, "it was started with a pipe"
        try:
            for line in process.stdout:
                if line.startswith(b"rmgr: "):
                    yield line.decode(errors="replace").rstrip("\n")
            _require_end(process, stderr)
        finally:
            with suppress(OSError):
                process.kill()
            process.stdout.close()
            process.wait()


def _require_end(process: subprocess.Popen[bytes], stderr: object) -> None:
    code = process.wait()
    error: ProgramError = complaint("pg_waldump", code, stderr)  # type: ignore[arg-type]
    if code and not END_OF_LOG.search(str(error)):
        raise error

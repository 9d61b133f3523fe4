"""One moment of a database, as files: what pg_dump and pg_dumpall write, and what they should hold."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import psycopg
from psycopg.errors import InsufficientPrivilege

from recovery import programs
from recovery.backups import snapshot
from recovery.backups.manifest import DatabaseFacts, TableFacts
from recovery.backups.progress import Progress
from recovery.backups.watch import Watch
from recovery.databases import Database
from recovery.exceptions import ProgramError, ServerAwayError
from recovery.programs import Programs

JOBS = 2
LOCK_WAIT_MILLISECONDS = 60_000
BEGIN = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
Connection = psycopg.Connection[Any]


@dataclass(frozen=True)
class Moment:
    """A snapshot that other sessions share for as long as the transaction lasts."""

    id: str
    taken_at: datetime
    facts: DatabaseFacts


@dataclass(frozen=True)
class Dumped:
    """What the files should hold."""

    tables: tuple[TableFacts, ...]
    # "pg_dump (PostgreSQL) 18.6"
    program: str
    # Whether `globals.sql` has the roles' passwords, hashed as the server has them.
    has_passwords: bool


def begin(database: Database, connection: Connection) -> Moment:
    """Begin the transaction of which everything is read."""
    with _told(database):
        connection.execute(BEGIN)
        row = connection.execute("SELECT pg_export_snapshot(), now()").fetchone()
        assert row, "a SELECT without FROM has one row"
        return Moment(row[0], row[1], snapshot.facts(connection))


def dump(
    database: Database, connection: Connection, moment: Moment, folder: Path, progress: Progress
) -> Dumped:
    """Write `dump/` and `globals.sql` into the folder, while the same snapshot is counted.

    Raise `ProgramError` or `ServerAwayError`; nothing that was started outlives the call.
    """
    found = programs.programs_for(moment.facts.server_version)
    with Watch(database, connection, folder, progress) as watch, _told(database, watch):
        has_passwords = _may_read_passwords(connection)
        _dump_globals(found, database, folder, watch, has_passwords=has_passwords)
        tables = _dump_and_count(found, database, connection, moment, folder, watch)
        # No transaction stays open while the files are stored.
        connection.execute("COMMIT")
    return Dumped(tables, _version(found), has_passwords)


def _dump_and_count(
    found: Programs,
    database: Database,
    connection: Connection,
    moment: Moment,
    folder: Path,
    watch: Watch,
) -> tuple[TableFacts, ...]:
    snapshot.lock(connection)
    # Sequences know no snapshot: pg_dump sees them somewhere between these two looks.
    before = snapshot.sequences(connection)
    with tempfile.TemporaryFile() as complaints:
        command = _command(found, moment.id, folder / "dump")
        process = programs.start_leashed(command, database, complaints)
        watch.follow(process)
        try:
            tables = snapshot.tables(connection, told=watch.counted)
            code = process.wait()
        except psycopg.OperationalError:
            # The watch hangs up when pg_dump has failed: then that is the reason.
            if not process.poll() or watch.reason:
                raise
            code = process.returncode
        _check("pg_dump", code, complaints, watch)
    after = snapshot.sequences(connection)
    return snapshot.widened(snapshot.widened(tables, before), after)


def _dump_globals(
    found: Programs, database: Database, folder: Path, watch: Watch, *, has_passwords: bool
) -> None:
    command: list[str | Path] = [found.path("pg_dumpall"), "--globals-only", "--no-password"]
    command += [f"--database={database.dbname}", f"--file={folder / 'globals.sql'}"]
    command += [] if has_passwords else ["--no-role-passwords"]
    with tempfile.TemporaryFile() as complaints:
        process = programs.start_leashed(command, database, complaints)
        watch.follow(process)
        _check("pg_dumpall", process.wait(), complaints, watch)


def _command(found: Programs, moment: str, target: Path) -> list[str | Path]:
    # Older ones know gzip only.
    compression = "zstd:3" if found.major >= 16 else "3"
    return [
        found.path("pg_dump"),
        "--format=directory",
        f"--jobs={JOBS}",
        f"--file={target}",
        f"--snapshot={moment}",
        f"--lock-wait-timeout={LOCK_WAIT_MILLISECONDS}",
        f"--compress={compression}",
        "--no-password",
        # These files are only read once, by the process that waits for them.
        "--no-sync",
    ]


def _check(program: str, code: int, complaints: IO[bytes], watch: Watch) -> None:
    if watch.reason:
        raise watch.reason
    if code:
        raise programs.complaint(program, code, complaints)


def _may_read_passwords(connection: Connection) -> bool:
    row = connection.execute("SELECT has_table_privilege('pg_authid', 'SELECT')").fetchone()
    return row == (True,)


def _version(found: Programs) -> str:
    command = (found.path("pg_dump"), "--version")
    answer = subprocess.run(command, capture_output=True, check=True, timeout=20)  # noqa: S603 - PostgreSQL's own
    return answer.stdout.decode(errors="replace").strip()


@contextmanager
def _told(database: Database, watch: Watch | None = None) -> Iterator[None]:
    """Raise our own errors without the driver's text, which may quote values."""
    try:
        yield
    except InsufficientPrivilege as exc:
        raise ProgramError(
            f"{database.name}: the role {database.user} may not read everything: "
            f"{exc.diag.message_primary}."
        ) from None
    except (psycopg.OperationalError, psycopg.InterfaceError) as exc:
        if watch and watch.reason:
            raise watch.reason from None
        reason = exc.sqlstate or type(exc).__name__
        raise ServerAwayError(f"{database.name}: the connection broke ({reason}).") from None
    except psycopg.Error as exc:
        reason = f"{type(exc).__name__}, {exc.sqlstate}"
        raise ProgramError(f"{database.name}: the rows cannot be counted ({reason}).") from None

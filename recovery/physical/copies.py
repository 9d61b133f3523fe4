"""The copy of a server's files: what has to hold before it is made, and whether it is whole."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from recovery.backups.progress import size_text
from recovery.backups.watch import size_of
from recovery.databases import Database
from recovery.exceptions import DamagedError, ProgramError, RefusedError, ServerAwayError
from recovery.physical import server
from recovery.physical.accounts import Account, run, start
from recovery.programs import Programs, complaint

# It looks at every file of every database.
SIZE_SECONDS = 120.0
LOOK_SECONDS = 15.0
# A checkpoint comes first, which may take its time.
STUCK_SECONDS = 1800.0


def copy(
    command: Sequence[str | Path], folder: Path, *, account: Account, database: Database, lock: int
) -> None:
    """Run `pg_basebackup` into a folder; raise `ServerAwayError` when it writes nothing for long.

    A server that is frozen keeps its connections, and no timeout of its own ends that wait. The
    program holds the lock, too: it may outlive us.
    """
    with tempfile.TemporaryFile() as stderr:
        process = start(
            command,
            stderr,
            account=account,
            database=database,
            stdout=subprocess.DEVNULL,
            pass_fds=(lock,),
        )
        try:
            is_stuck = _is_stuck(process, folder)
        finally:
            process.kill()
            process.wait()
        if is_stuck:
            raise ServerAwayError(
                f"{database.name}: pg_basebackup wrote nothing for {STUCK_SECONDS / 60:.0f} minutes "
                "and was ended."
            )
        if process.returncode:
            raise complaint("pg_basebackup", process.returncode, stderr)


def _is_stuck(process: subprocess.Popen[bytes], folder: Path) -> bool:
    """Wait until a program ends; True when its folder has not grown for long before that."""
    size, grew_at = -1, time.monotonic()
    while True:
        try:
            process.wait(LOOK_SECONDS)
            return False
        except subprocess.TimeoutExpired:
            before, size = size, size_of(folder)
        if size != before:
            grew_at = time.monotonic()
        elif time.monotonic() - grew_at > STUCK_SECONDS:
            return True


def verify(programs: Programs, folder: Path, account: Account) -> None:
    """Compare every file with the backup's own list; raise `DamagedError`."""
    command: list[str | Path] = [
        programs.path("pg_verifybackup"),
        "--no-parse-wal",
        "--exit-on-error",
        folder,
    ]
    try:
        run([*command, "--quiet"], account=account)
    except ProgramError as exc:
        raise DamagedError(f"A base backup is damaged. {exc}") from None


def require_room(database: Database, folder: Path) -> None:
    """Raise `RefusedError` rather than fill the disk that the log needs."""
    query = "SELECT coalesce(sum(pg_database_size(oid)), 0)::bigint FROM pg_database"
    with server.asking(database, SIZE_SECONDS) as connection:
        (needed,) = connection.execute(query).fetchone()
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise RefusedError(
            f"WAL_ARCHIVE_PATH: {folder} has {size_text(free)} free; the server's databases take "
            f"{size_text(needed)}."
        )


def refuse_tablespaces(database: Database) -> None:
    """Raise `RefusedError` for a server with files outside its folder."""
    query = "SELECT count(*) FROM pg_tablespace WHERE spcname NOT IN ('pg_default', 'pg_global')"
    with server.asking(database) as connection:
        (count,) = connection.execute(query).fetchone()
    if count:
        raise RefusedError(
            f"The server has {count} tablespaces of its own, which the built-in engine does not "
            "back up. Use RECOVERY_ENGINE=pgbackrest."
        )

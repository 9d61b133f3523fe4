"""The copy of a server's files: what has to hold before it is made, and whether it is whole."""

from __future__ import annotations

import shutil
from pathlib import Path

from recovery.backups.progress import size_text
from recovery.databases import Database
from recovery.exceptions import DamagedError, ProgramError, RefusedError
from recovery.physical import server
from recovery.physical.accounts import Account, run
from recovery.programs import Programs

# It looks at every file of every database.
SIZE_SECONDS = 120.0


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

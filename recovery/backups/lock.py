"""One backup of a database at a time: by a lock in the database, and one of this machine.

The first is seen from every machine and ends with its connection; the second keeps the working
folder apart for as long as the process lives, also when the server is away.
"""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from django.conf import settings

from recovery.databases import Database
from recovery.exceptions import BusyError, ConfigurationError

# "backup" as a number. Advisory locks are of one database each.
KEY = 0x6261636B7570
HOLDER = """
    SELECT coalesce(nullif(a.application_name, ''), 'somebody'),
           to_char(a.backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS')
    FROM pg_locks l JOIN pg_stat_activity a USING (pid)
    JOIN pg_database d ON d.oid = l.database AND d.datname = current_database()
    WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
      AND (l.classid::bigint << 32 | l.objid::bigint) = %s
"""


@contextmanager
def held(database: Database) -> Iterator[psycopg.Connection[Any]]:
    """Lend the connection that holds the lock; raise `BusyError` naming who has it, since when."""
    with machine_lock(database), closing(_connect(database)) as connection:
        query = "SELECT pg_try_advisory_lock(%s)"
        if connection.execute(query, (KEY,)).fetchone() != (True,):
            raise BusyError(f"{database.name} is being backed up by {_holder(connection)}.")
        yield connection


@contextmanager
def machine_lock(database: Database) -> Iterator[None]:
    """Keep other processes of this machine from the database's working folder."""
    path = folder() / f"{database.name}.lock"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError as exc:
        raise ConfigurationError(f"RECOVERY_FOLDER: {path}: {exc.strerror}.") from None
    with os.fdopen(descriptor, "r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = file.read(100).strip() or "another process"
            raise BusyError(f"{database.name} is being backed up by {holder}.") from None
        file.truncate(0)
        file.write(f"{_own_name()} since {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC")
        file.flush()
        yield


def is_held(database: Database) -> bool:
    """Say whether somebody backs this database up now; raise `ServerAwayError` when unknown."""
    with closing(database.connect()) as connection:
        return connection.execute(HOLDER, (KEY,)).fetchone() is not None


def folder() -> Path:
    """Return the folder that dumps are written to; raise `ConfigurationError`."""
    path = Path(settings.RECOVERY_FOLDER) / "backups"
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as exc:
        raise ConfigurationError(f"RECOVERY_FOLDER: {path}: {exc.strerror}.") from None
    return path


def _connect(database: Database) -> psycopg.Connection[Any]:
    # Idle while the files are stored, which no firewall on the way may take for dead.
    return database.connect(application_name=_own_name(), keepalives_idle=60)


def _holder(connection: psycopg.Connection[Any]) -> str:
    row = connection.execute(HOLDER, (KEY,)).fetchone()
    return f"{row[0]} since {row[1]} UTC" if row else "somebody who has just finished: try again"


def _own_name() -> str:
    # PostgreSQL keeps 63 bytes of it.
    return f"backup on {socket.gethostname()[:30]}, process {os.getpid()}"

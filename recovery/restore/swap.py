"""Give databases other names while sessions come and go; the live one is never closed.

`ALTER DATABASE ... RENAME` locks the database's name. From then on sessions that begin wait,
and it waits up to 5 s for those that are there, which a second connection ends meanwhile. All
renames are one message to the server: were this process killed or frozen in the middle, the
server carries them out or takes all of them back, and the name is free to connect to either way.
A closed database (`ALLOW_CONNECTIONS false`) would stay closed.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import errors, sql

from recovery.databases import Database
from recovery.exceptions import BusyError, RefusedError, ServerAwayError

ATTEMPTS = 5
PAUSE_SECONDS = 1.0
KILL_EVERY_SECONDS = 0.02
# Whoever wants to connect waits behind this lock, so it is not waited for long. The commit does
# not wait for a standby that may be away.
GUARDS = "SET LOCAL lock_timeout = '2s'; SET LOCAL statement_timeout = '20s'; SET LOCAL synchronous_commit = local"
RENAME = "ALTER DATABASE {} RENAME TO {}"
IN_THE_WAY = (errors.ObjectInUse, errors.LockNotAvailable, errors.QueryCanceled)
OURS = "compliance-console-restore"
END_SESSIONS = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE datid = ANY(%s::oid[]) AND pid <> pg_backend_pid()
"""
NUMBERS = "SELECT datname, oid::int8 FROM pg_database"
PREPARED = "SELECT gid FROM pg_prepared_xacts WHERE database = %s ORDER BY gid LIMIT 10"
# Numbers of locks are shared by all who use the maintenance database.
LOCK = 0x7273_7472
# The two that a server is made with; one of them is not the live one.
MAINTENANCE = ("postgres", "template1")


@dataclass(frozen=True)
class Swapped:
    """`seconds` from the first lock to the commit: the longest that anybody was kept waiting."""

    seconds: float
    attempts: int


def maintenance(database: Database) -> Database:
    """Return the server's database from which others are made and renamed."""
    return database.on(MAINTENANCE[database.dbname == MAINTENANCE[0]])


def numbers(database: Database) -> dict[str, int]:
    """Return the server's databases: their numbers by their names."""
    with maintenance(database).connect() as connection:
        return dict(connection.execute(NUMBERS).fetchall())


@contextmanager
def alone_on_server(database: Database) -> Iterator[None]:
    """Be the only restore of this database, whoever else has an administrator's rights.

    Raise `BusyError`. The server lets go of the lock when this process's connection ends.
    """
    with maintenance(database).connect(application_name=OURS) as connection:
        key = [LOCK, numbers(database).get(database.dbname, 0) % 2**31]
        row = connection.execute("SELECT pg_try_advisory_lock(%s, %s)", key).fetchone()
        if not (row and row[0]):
            raise BusyError(f"Another console restores {database.name} at this moment.")
        yield


def swap(database: Database, *, incoming: str, kept_as: str) -> Swapped:
    """Put `incoming` in the place of the live database, which is called `kept_as` from then on.

    Raise `RefusedError`, with nothing changed, while prepared transactions hold the live one;
    `BusyError` when it could not be had in so many attempts, between which it serves.
    """
    refuse_prepared(database)
    # First under a third name: waiting for what is busy in the new one delays nobody.
    passing = f"compliance_passing_{secrets.token_hex(8)}"
    live = database.dbname
    return _done(database, [(incoming, passing), (live, kept_as), (passing, live)])


def rename(database: Database, old: str, new: str) -> Swapped:
    """Rename one database, as `swap` does, where nothing has the new name."""
    return _done(database, [(old, new)])


def _done(database: Database, pairs: Sequence[tuple[str, str]]) -> Swapped:
    known = numbers(database)
    oids = [known[old] for old, _ in pairs if old in known]
    renames = _renames(pairs)
    for attempt in range(1, ATTEMPTS + 1):
        if seconds := _attempt(database, renames, oids):
            return Swapped(seconds, attempt)
        time.sleep(PAUSE_SECONDS)
    raise BusyError(
        f"{database.dbname} could not be renamed in {ATTEMPTS} attempts: sessions did not end "
        "within 5 s, or somebody holds its name locked. Nothing was changed. Stop what is busy "
        "there (pg_stat_activity shows it) and run the restore again."
    )


def refuse_prepared(database: Database) -> None:
    """Raise `RefusedError` while a prepared transaction is open: no session ends it."""
    if found := prepared(database):
        raise RefusedError(
            f"{database.dbname} has prepared transactions, which hold it: {', '.join(found)}. "
            "COMMIT PREPARED or ROLLBACK PREPARED each of them first."
        )


def prepared(database: Database) -> list[str]:
    """Return the ids of the first ten prepared transactions."""
    with maintenance(database).connect() as connection:
        return [gid for (gid,) in connection.execute(PREPARED, [database.dbname])]


def _renames(pairs: Sequence[tuple[str, str]]) -> sql.Composed:
    return sql.SQL("BEGIN; {}; {}; COMMIT").format(
        sql.SQL(GUARDS),
        sql.SQL("; ").join(
            sql.SQL(RENAME).format(sql.Identifier(old), sql.Identifier(new)) for old, new in pairs
        ),
    )


def _attempt(database: Database, renames: sql.Composed, oids: Sequence[int]) -> float:
    """Rename once; return the seconds it took, 0 when sessions or a lock were in the way."""
    with (
        maintenance(database).connect(application_name=OURS) as connection,
        _ending_sessions(database, oids),
    ):
        started = time.monotonic()
        try:
            connection.execute(renames)
        except IN_THE_WAY:
            return 0.0
        except psycopg.OperationalError:
            raise ServerAwayError(
                f"{database.name}: the server went away during the swap. "
                "`manage.py restore status` shows how far it came."
            ) from None
        except psycopg.Error as exc:
            raise RefusedError(
                f"{database.dbname} cannot be renamed ({exc.sqlstate}): {database.user} must "
                "be a superuser, or own both databases with CREATEDB and pg_signal_backend."
            ) from None
        return time.monotonic() - started


@contextmanager
def _ending_sessions(database: Database, oids: Sequence[int]) -> Iterator[None]:
    """End every session of these databases, again and again, until the block is over."""
    over = threading.Event()
    with maintenance(database).connect(application_name=OURS) as connection:
        thread = threading.Thread(target=_end_sessions, args=(connection, oids, over))
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


def _end_sessions(
    connection: psycopg.Connection[Any], oids: Sequence[int], over: threading.Event
) -> None:
    while not over.wait(KILL_EVERY_SECONDS):
        try:
            connection.execute(END_SESSIONS, [list(oids)])
        except psycopg.Error:
            # Gone, or a session that this role may not end: the rename says so.
            return

"""What the server says of itself and of the slot that keeps its log for the archive."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import dict_row

from compliance_site.foundation.deadline import deadline
from recovery.databases import Database
from recovery.exceptions import ConfigurationError, ServerAwayError
from recovery.physical.archive import Identity

# A frozen server accepts and never answers; only closing the socket ends the wait.
ANSWER_SECONDS = 3.0
CONNECT_SECONDS = 2

OBSERVATION = """
SELECT pg_wal_lsn_diff(flushed, '0/0')::bigint AS position,
       slot.slot_name IS NOT NULL AS has_slot,
       -- Whoever makes a slot holds it for a moment too.
       EXISTS (SELECT FROM pg_stat_replication WHERE pid = slot.active_pid) AS receiving,
       coalesce(slot.wal_status, '') AS slot_status,
       pg_wal_lsn_diff(flushed, slot.restart_lsn)::bigint AS retained_bytes,
       current_setting('max_slot_wal_keep_size') AS slot_limit,
       current_setting('wal_level') AS wal_level,
       current_setting('synchronous_commit') AS synchronous_commit,
       current_setting('synchronous_standby_names') AS synchronous_names
  FROM (SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn()
                    ELSE pg_current_wal_flush_lsn() END AS flushed) AS log
  LEFT JOIN pg_replication_slots AS slot ON slot.slot_name = %s
"""


@dataclass(frozen=True)
class Observation:
    """One look at the server; `position` is where its log was durable at `at`."""

    at: datetime
    position: int
    has_slot: bool
    receiving: bool
    slot_status: str
    retained_bytes: int | None
    slot_limit: str
    wal_level: str
    synchronous_commit: str
    synchronous_names: str


def slot_name(database: Database) -> str:
    """Return the slot's name, which is the receiver's `application_name` as well."""
    return f"compliance_wal_{database.name.replace('-', '_')}"


def identify(database: Database) -> Identity:
    """Ask the server who it is."""
    query = """SELECT system_identifier::text, bytes_per_wal_segment
                 FROM pg_control_system(), pg_control_init()"""
    with asking(database) as connection:
        system, size = connection.execute(query).fetchone()
        return Identity(system, size, connection.info.server_version, database.user)


def observe(database: Database) -> Observation:
    """Look once, within a few seconds even when the server is frozen; raise `ServerAwayError`."""
    with asking(database) as connection:
        # The time first: what is committed after it may be missing at the position.
        (at,) = connection.execute("SELECT clock_timestamp()").fetchone()
        cursor = connection.cursor(row_factory=dict_row)
        found = cursor.execute(OBSERVATION, [slot_name(database)]).fetchone()
        return Observation(at=at, **found)


def make_slot(database: Database) -> None:
    """Make the slot, which keeps the server's log from now on until it is archived."""
    with asking(database) as connection:
        connection.execute(
            "SELECT pg_create_physical_replication_slot(%s, true)", [slot_name(database)]
        )


def drop_slot(database: Database) -> None:
    with asking(database) as connection:
        connection.execute("SELECT pg_drop_replication_slot(%s)", [slot_name(database)])


def slot_position(database: Database) -> int | None:
    """Return the position from which on the server keeps its log."""
    query = """SELECT (restart_lsn - '0/0')::bigint FROM pg_replication_slots
                WHERE slot_name = %s"""
    with asking(database) as connection:
        found = connection.execute(query, [slot_name(database)]).fetchone()
        return found[0] if found else None


def timeline(database: Database) -> int:
    query = "SELECT left(pg_walfile_name(pg_current_wal_insert_lsn()), 8)"
    with asking(database) as connection:
        return int(connection.execute(query).fetchone()[0], 16)


def history(database: Database, timeline: int) -> str:
    """Return the server's own account of where a timeline comes from."""
    with asking(database) as connection:
        file = f"pg_wal/{timeline:08X}.history"
        return str(connection.execute("SELECT pg_read_file(%s)", [file]).fetchone()[0])


@contextmanager
def asking(database: Database, seconds: float = ANSWER_SECONDS) -> Iterator[Any]:
    """Lend a connection that is cut after so many seconds; raise `ServerAwayError`."""
    connection = database.connect(connect_timeout=CONNECT_SECONDS)
    try:
        with deadline(connection.fileno(), seconds):
            yield connection
    except psycopg.errors.InsufficientPrivilege:
        raise ConfigurationError(
            f"{database.name}: the role {database.user} must be a superuser, or have REPLICATION "
            "and be a member of pg_monitor."
        ) from None
    except psycopg.OperationalError as exc:
        raise ServerAwayError(
            f"{database.name}: {database.host}:{database.port} does not answer "
            f"({exc.sqlstate or type(exc).__name__})."
        ) from None
    finally:
        connection.close()

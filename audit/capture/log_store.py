"""The writer's own connection to the database: `COPY` with a deadline that always holds.

A server that is frozen rather than gone accepts bytes and never answers: no timeout of
PostgreSQL or of the driver ends that wait. Closing the socket under it does.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import psycopg
from django.db import connections

from audit.capture.copy_rows import COPY, copy_block
from audit.ledger.partitions import month_of
from audit.models import AuditLog, Intent
from compliance_site.foundation import maintenance
from compliance_site.foundation.postgresql.silence import SERVER

NAME = "audit-writer"
CONNECT_SECONDS = 3
# Only the console's own entries count: a service chooses its event ids.
KNOWN = """
SELECT event_id FROM audit_log
WHERE created_at BETWEEN %s AND %s AND event_id = ANY(%s) AND source = 'console'
"""
# It may be sent again, when the first answer was lost.
ANNOUNCE = """
INSERT INTO audit_intent (event_id, created_at, request_id, method, resource, route,
    ip_address, user_agent, host, pid)
VALUES (%(event_id)s, %(created_at)s, %(request_id)s, %(method)s, %(resource)s, %(route)s,
    %(ip_address)s, %(user_agent)s, %(host)s, %(pid)s)
ON CONFLICT DO NOTHING
"""
BACKEND = """
SELECT pid, extract(epoch FROM backend_start)::text FROM pg_stat_activity
WHERE pid = pg_backend_pid()
"""
# A killed or thawing server process may still be committing what it was sent.
END_BACKEND = """
SELECT pg_terminate_backend(pid, 2000) FROM pg_stat_activity
WHERE pid = %s AND extract(epoch FROM backend_start)::text = %s
"""

# What PostgreSQL will refuse however often it is offered.
UNSTORABLE = (psycopg.DataError, psycopg.IntegrityError, ValueError)


@dataclass(frozen=True)
class Backend:
    """The server process of a connection; the pid alone could be somebody else's by now."""

    pid: int
    started: str


class LogStore:
    """Stores entries; one thread at a time. Every call ends within `deadline` seconds.

    All calls raise `psycopg.Error` or `OSError` when the database does not do its part.
    """

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        self._connection: psycopg.Connection[Any] | None = None
        self._months: set[date] = set()
        self._watchdog = Watchdog()
        # The backend that may still commit entries: its last answer never came.
        self.in_doubt: Backend | None = None
        self._backend: Backend | None = None

    def add(self, logs: Sequence[AuditLog]) -> None:
        """Commit the entries in one `COPY`."""
        try:
            with self._answering() as connection:
                self._make_partitions(connection, logs)
                with connection.cursor() as cursor, cursor.copy(COPY) as copy:
                    copy.write(copy_block(logs))
        except (psycopg.Error, OSError):
            self.in_doubt = self._backend
            raise

    def add_missing(self, logs: Sequence[AuditLog]) -> None:
        """Commit those entries that are not there yet, by their event ids."""
        moments = [log.created_at for log in logs]
        with self._answering() as connection:
            ids = [log.event_id for log in logs]
            rows = connection.execute(KNOWN, [min(moments), max(moments), ids]).fetchall()
        known = {event_id for (event_id,) in rows}
        # A spool that was taken over twice repeats lines, perhaps within this batch.
        missing = {log.event_id: log for log in logs if log.event_id not in known}
        if missing:
            self.add(list(missing.values()))

    def announce(self, intents: Sequence[Intent]) -> None:
        """Commit intents; a connection that broke while it was idle is replaced first."""
        was_idle = self.is_connected
        due = time.monotonic() + self._deadline
        try:
            self._announce(intents)
        except (psycopg.OperationalError, OSError):
            if not was_idle or time.monotonic() >= due:
                raise
            self._announce(intents)

    def _announce(self, intents: Sequence[Intent]) -> None:
        with self._answering() as connection, connection.cursor() as cursor:
            cursor.executemany(ANNOUNCE, [intent.__dict__ for intent in intents])

    @property
    def is_connected(self) -> bool:
        return self._connection is not None

    def backend(self) -> Backend:
        """Return the server process that the next call will speak to."""
        if self._connection is None:
            self._connect()
        assert self._backend is not None, "a connection has a server process"
        return self._backend

    def end(self, backend: Backend) -> None:
        """Make sure that a server process is gone, with whatever it had not committed."""
        with self._answering() as connection:
            connection.execute(END_BACKEND, [backend.pid, backend.started])
            still_there = connection.execute(END_BACKEND, [backend.pid, backend.started])
            if still_there.fetchone() is not None:
                raise OSError(f"Server process {backend.pid} does not end.")

    def close(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(psycopg.Error, OSError):
                self._connection.close()
        self._connection = None
        # The next connection may lead to a database that was restored meanwhile.
        self._months.clear()

    @contextlib.contextmanager
    def _answering(self) -> Iterator[psycopg.Connection[Any]]:
        """Lend the connection; when the block fails it is closed."""
        if maintenance.is_on():
            self.close()
            raise OSError("The database is being replaced; what it took now would be lost.")
        if SERVER.is_silent:
            self.close()
            raise OSError("The database does not answer; the requests found that out.")
        connection = self._connection or self._connect()
        try:
            with self._watchdog.over(connection.fileno(), self._deadline):
                yield connection
        except (psycopg.Error, OSError):
            self.close()
            raise

    def _connect(self) -> psycopg.Connection[Any]:
        parameters = connections["default"].get_connection_params()
        # The settings of Django's own connections are not this one's.
        for name in ("cursor_factory", "context", "prepare_threshold"):
            parameters.pop(name, None)
        parameters |= {"connect_timeout": CONNECT_SECONDS, "application_name": NAME}
        connection = psycopg.connect(**parameters, autocommit=True)
        with self._watchdog.over(connection.fileno(), self._deadline):
            row = connection.execute(BACKEND).fetchone()
        assert row is not None, "a connection sees itself"
        self._backend = Backend(*row)
        self._connection = connection
        return connection

    def _make_partitions(
        self, connection: psycopg.Connection[Any], logs: Sequence[AuditLog]
    ) -> None:
        for month in {month_of(log.created_at) for log in logs} - self._months:
            connection.execute("SELECT audit_make_partition(%s)", [month])
            self._months.add(month)


class Watchdog:
    """Shuts a socket down when the block that uses it has not ended in time."""

    def __init__(self) -> None:
        self._guard = threading.Condition()
        self._due: float | None = None
        self._socket = -1
        self._thread: threading.Thread | None = None

    @contextlib.contextmanager
    def over(self, descriptor: int, seconds: float) -> Iterator[None]:
        self._watch(descriptor, time.monotonic() + seconds)
        try:
            yield
        finally:
            self._watch(-1, None)

    def _watch(self, descriptor: int, due: float | None) -> None:
        with self._guard:
            self._socket, self._due = descriptor, due
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="audit-watchdog", daemon=True
                )
                self._thread.start()

    def _run(self) -> None:
        """Look twice a second: waking up for each block would cost more than it is worth."""
        while True:
            time.sleep(0.5)
            with self._guard:
                if self._due is not None and time.monotonic() > self._due:
                    self._due = None
                    with contextlib.suppress(OSError), _borrowed(self._socket) as borrowed:
                        borrowed.shutdown(socket.SHUT_RDWR)


def _borrowed(descriptor: int) -> socket.socket:
    return socket.socket(fileno=os.dup(descriptor))

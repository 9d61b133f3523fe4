"""A session at PostgreSQL of which no step outlasts its deadline.

It speaks libpq's asynchronous calls: those return when the socket has nothing to say, where a
driver would wait. Only the look-up of a host's name can block, in a thread that nobody waits for.
"""

from __future__ import annotations

import select
import time
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connections
from psycopg import OperationalError
from psycopg.conninfo import make_conninfo
from psycopg.pq import ConnStatus, DiagnosticField, ExecStatus, PGconn, PollingStatus, abc

from recovery import metrics_store
from recovery.health.results import Unhealthy

NAME = "compliance-health"
WRONG = (ExecStatus.FATAL_ERROR, ExecStatus.BAD_RESPONSE)
READ_ONLY = "25006"


class Session:
    """An open connection; `ask` raises `TimeoutError` at the deadline."""

    def __init__(self, pgconn: abc.PGconn, deadline: float) -> None:
        self._pgconn = pgconn
        self._deadline = deadline

    def ask(self, statements: str) -> list[list[bytes | None]]:
        """Send statements in one message; return the rows of the last one that returned some.

        Raise `Refused` with the server's SQLSTATE.
        """
        self._pgconn.send_query(statements.encode())
        while self._pgconn.flush():
            _wait(self._pgconn, self._deadline, write=True)
        rows: list[list[bytes | None]] = []
        refused = None
        while (result := self._next()) is not None:
            if result.status in WRONG:
                refused = Refused(_sqlstate(result))
            elif result.status == ExecStatus.TUPLES_OK:
                rows = _rows(result)
        if refused is not None:
            raise refused
        return rows

    def _next(self) -> abc.PGresult | None:
        while self._pgconn.is_busy():
            _wait(self._pgconn, self._deadline, write=False)
            self._pgconn.consume_input()
        return self._pgconn.get_result()


class Refused(Exception):  # noqa: N818 - said by the server
    """The server refused a statement; without its words, which may quote anything."""

    def __init__(self, sqlstate: str) -> None:
        super().__init__(sqlstate)
        self.sqlstate = sqlstate


class NotConnected(Unhealthy):
    """There was no connection in the first place."""


@contextmanager
def session(deadline: float) -> Iterator[Session]:
    """Lend a session as the role that the console runs as; raise `Unhealthy` or `TimeoutError`."""
    pgconn = PGconn.connect_start(_conninfo().encode())
    try:
        pgconn.nonblocking = 1
        _connect(pgconn, deadline)
        yield Session(pgconn, deadline)
    except OperationalError:
        metrics_store.count_connection_error()
        raise Unhealthy("The connection broke off.") from None
    except (NotConnected, TimeoutError):
        metrics_store.count_connection_error()
        raise
    finally:
        pgconn.finish()


def _connect(pgconn: abc.PGconn, deadline: float) -> None:
    while True:
        if pgconn.status == ConnStatus.BAD:
            raise NotConnected("It refuses connections, or is not there.")
        match pgconn.connect_poll():
            case PollingStatus.OK:
                return
            case PollingStatus.READING:
                _wait(pgconn, deadline, write=False)
            case PollingStatus.WRITING:
                _wait(pgconn, deadline, write=True)
            case _:
                raise NotConnected("It refuses connections, or is not there.")


def _wait(pgconn: abc.PGconn, deadline: float, *, write: bool) -> None:
    poll = select.poll()
    poll.register(pgconn.socket, select.POLLOUT if write else select.POLLIN)
    if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
        raise TimeoutError


def _conninfo() -> str:
    """Return what Django connects with, under the name that it has under test as well."""
    known = connections.settings["default"]
    return make_conninfo(
        "",
        dbname=known["NAME"],
        user=known["USER"],
        password=known["PASSWORD"],
        host=known["HOST"],
        port=known["PORT"],
        application_name=NAME,
        **known["OPTIONS"],
    )


def _sqlstate(result: abc.PGresult) -> str:
    return (result.error_field(DiagnosticField.SQLSTATE) or b"").decode()


def _rows(result: abc.PGresult) -> list[list[bytes | None]]:
    return [
        [result.get_value(row, column) for column in range(result.nfields)]
        for row in range(result.ntuples)
    ]

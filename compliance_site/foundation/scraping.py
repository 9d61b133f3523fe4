"""What collectors of metrics may do in one scrape: ask the database for so long, or not at all."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar

from django.db import OperationalError, connection

# Prometheus gives up after ten seconds, and there are several collectors.
PATIENCE_SECONDS = 2.0

_is_away: ContextVar[bool] = ContextVar("_is_away", default=False)


@contextmanager
def database_away(is_away: bool) -> Iterator[None]:
    """Say for the scrape in this block whether the database is known to be away."""
    token = _is_away.set(is_away)
    try:
        yield
    finally:
        _is_away.reset(token)


@contextmanager
def asking_database(seconds: float = PATIENCE_SECONDS) -> Iterator[None]:
    """Let the block ask the database through Django's connection.

    Raise `OperationalError` at once when the database is known to be away. When it does not
    answer in time the connection is shut, which ends whatever wait there is in the same way.
    """
    if _is_away.get():
        raise OperationalError("The database is away.")
    connection.ensure_connection()
    with socket.socket(fileno=os.dup(connection.connection.fileno())) as borrowed:
        watchdog = threading.Timer(seconds, _shut, (borrowed,))
        watchdog.start()
        try:
            yield
        finally:
            watchdog.cancel()
            watchdog.join()


def _shut(borrowed: socket.socket) -> None:
    with suppress(OSError):
        borrowed.shutdown(socket.SHUT_RDWR)

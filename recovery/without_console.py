"""Recovery goes on while the console's own database, which takes its entries, is away."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import InterfaceError, OperationalError, connections

logger = logging.getLogger(__name__)


@contextmanager
def without_console(missed: str, *, level: int = logging.WARNING) -> Iterator[None]:
    """End the block quietly when the database is away; the log says what was `missed`."""
    connection = connections["default"]
    if not connection.in_atomic_block:
        # One that was idle for the hours of a dump may be broken.
        connection.close_if_unusable_or_obsolete()
    try:
        yield
    except (InterfaceError, OperationalError) as exc:
        logger.log(level, "The console's database is away (%s): %s", type(exc).__name__, missed)

"""Django's PostgreSQL, of which a web server never waits for a frozen one for ever.

Such a server accepts and never answers, and every request that waited for it would keep a
thread of the web server, until none is left that could answer health. Named as `ENGINE`; it
differs from Django's own only where `limit_waits` was called.
"""

from django.conf import settings
from django.db import connections

DEADLINE = "DEADLINE_SECONDS"


def limit_waits() -> None:
    """Let no connection that this process opens from now on wait for an answer for ever.

    For web servers: a migration or a task may take its time.
    """
    connections.settings["default"][DEADLINE] = settings.DATABASE_DEADLINE_SECONDS

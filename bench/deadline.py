"""Round trips to PostgreSQL a second with a deadline against without: what the limit costs each query."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import django
import psycopg

from bench.console import environment_of
from bench.result import Pair, report
from compliance_site.foundation import embedded

# Short and many, so that what else the machine does meets both alike.
PAIRS = 201
QUERIES = 500


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="compliance-bench-"))
    # As root the services run as another user, who has to get here.
    folder.chmod(0o755)
    try:
        with embedded.running(folder) as endpoints:
            os.environ |= environment_of(endpoints, folder)
            django.setup()
            measure(endpoints.database_url)
    finally:
        embedded.remove(folder)
        shutil.rmtree(folder, ignore_errors=True)


def measure(url: str) -> None:
    from compliance_site.foundation.postgresql.connection import BoundedConnection

    with psycopg.connect(url) as plain, BoundedConnection.connect(url) as bounded:
        bounded.seconds = 60
        rate(plain), rate(bounded)
        pairs = [Pair(rate(bounded), rate(plain)) for _ in range(PAIRS)]
    report("deadline", pairs, unit="SELECT 1 a second over psycopg's own", target="-", rows=QUERIES)


def rate(connection: psycopg.Connection[Any]) -> float:
    """Return how many of the smallest query are answered a second, one after the other."""
    started = time.perf_counter()
    with connection.cursor() as cursor:
        for _ in range(QUERIES):
            cursor.execute("SELECT 1")
            cursor.fetchone()
    return QUERIES / (time.perf_counter() - started)


if __name__ == "__main__":
    main()

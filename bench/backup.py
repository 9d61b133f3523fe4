"""P10: a backup of a 1 GB database against `pg_dump -Fd -j2 -Z zstd:3` of it alone.

The console's time has in it, beside the dump, every row counted and hashed, the encryption, the
file stored and made durable, and read back. Both write to the same disk.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import django
import psycopg
import pyrage

from audit.capture.actors import acting_as, task_actor
from bench.console import environment_of, manage
from bench.result import Pair, report
from compliance_site.foundation import embedded

PAIRS = 5
MEGABYTES = 1_000
# About 190 bytes a row with its index: words that compress about as orders and logs do.
ROWS = MEGABYTES * 5_300
CONTENTS = f"""
    CREATE TABLE orders (id bigint PRIMARY KEY, placed timestamptz, customer int, total numeric, note text);
    INSERT INTO orders SELECT n, timestamptz '2026-01-01' + n * interval '7 s', (random() * 1e6)::int,
        (random() * 1e4)::numeric(10, 2), repeat('order of the day ', 2) || md5(n::text) || md5((n % 1000)::text)
        FROM generate_series(1, {ROWS // 2}) AS n;
    CREATE TABLE events AS SELECT * FROM orders;
    VACUUM ANALYZE;
"""


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="compliance-bench-"))
    # As root the services run as another user, who has to get here.
    folder.chmod(0o755)
    try:
        with embedded.running(folder) as endpoints:
            url = endpoints.admin_url.rpartition("/")[0] + "/bench"
            os.environ |= environment_of(endpoints, folder) | places(folder, url)
            manage(dict(os.environ), "migrate", "--verbosity", "0")
            fill(endpoints.admin_url, url)
            django.setup()
            with acting_as(task_actor("bench")):
                measure(folder, url)
    finally:
        embedded.remove(folder)
        shutil.rmtree(folder, ignore_errors=True)


def places(folder: Path, url: str) -> dict[str, str]:
    return {
        "BACKUP_DATABASES": f"bench={url}",
        "BACKUP_STORAGE_PATH": str(folder / "backups"),
        "BACKUP_IDENTITY": str(pyrage.x25519.Identity.generate()),
        "RECOVERY_FOLDER": str(folder / "recovery"),
        "POSTGRESQL_PROGRAMS": str(embedded.postgres_programs(folder)),
    }


def fill(admin_url: str, url: str) -> None:
    with psycopg.connect(admin_url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE bench TEMPLATE template0")
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in CONTENTS.split(";")[:-1]:
            connection.execute(statement.encode())


def measure(folder: Path, url: str) -> None:
    """Report how many times as long as pg_dump alone a backup takes."""
    from recovery.backups.create import create
    from recovery.databases import database

    bench = database("bench")
    pairs = []
    for _ in range(PAIRS):
        started = time.perf_counter()
        create(bench)
        ours = time.perf_counter() - started
        # In milliseconds.
        pairs.append(Pair(ours * 1000, _dump_alone(folder, url) * 1000))
        # The folder itself stays: a store that had backups and is gone would be refused.
        shutil.rmtree(folder / "backups" / "bench")
    report("backup", pairs, unit="times pg_dump", target="<= 1.15", rows=ROWS)


def _dump_alone(folder: Path, url: str) -> float:
    target = folder / "alone"
    program = str(embedded.postgres_programs(folder) / "pg_dump")
    options = ["--format=directory", "--jobs=2", "--compress=zstd:3"]
    started = time.perf_counter()
    subprocess.run([program, *options, f"--file={target}", f"--dbname={url}"], check=True)
    seconds = time.perf_counter() - started
    shutil.rmtree(target)
    return seconds


if __name__ == "__main__":
    main()

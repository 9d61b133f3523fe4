"""P10 (verify) and P11: a verified restore against `pg_restore` alone; how long a swap refuses.

The database has 1 GB unless another number of MB is given. The backup is made once; each pair
restores it both ways. During the swaps sixteen clients connect, ask and leave without a pause.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import django
import psycopg
import pyrage

from audit.capture.actors import acting_as, task_actor
from bench.console import environment_of, manage
from bench.result import Pair, report, report_time
from compliance_site.foundation import embedded

PAIRS = 5
CLIENTS = 16
MEGABYTES = int(sys.argv[1]) if len(sys.argv) > 1 else 1024
# A row of the table and of its index, measured.
ROWS = MEGABYTES * 5_400
FILL = f"""
CREATE TABLE line (id bigint PRIMARY KEY, placed timestamptz, item text, price numeric);
INSERT INTO line SELECT n, now() - n * interval '1 second', md5(n::text) || md5((-n)::text), n / 7.0
FROM generate_series(1, {ROWS}) n;
"""


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="compliance-bench-"))
    # As root the services run as another user, who has to get here.
    folder.chmod(0o755)
    try:
        with embedded.running(folder) as endpoints:
            os.environ |= environment_of(endpoints, folder) | {
                "DATABASE_ADMIN_URL": endpoints.admin_url,
                "BACKUP_DATABASES": f"shop={_url_of(endpoints.admin_url, 'shop')}",
                "BACKUP_IDENTITY": str(pyrage.x25519.Identity.generate()),
                "BACKUP_STORAGE_PATH": str(folder / "backups"),
                "RECOVERY_FOLDER": str(folder / "recovery"),
                "POSTGRESQL_PROGRAMS": str(embedded.postgres_programs(folder)),
            }
            manage(dict(os.environ), "migrate", "--verbosity", "0")
            with psycopg.connect(endpoints.admin_url, autocommit=True) as admin:
                admin.execute("CREATE DATABASE shop")
            with psycopg.connect(_url_of(endpoints.admin_url, "shop"), autocommit=True) as shop:
                shop.execute(FILL)
            django.setup()
            with acting_as(task_actor("bench")):
                measure_verify(folder)
                measure_swap(endpoints.admin_url)
    finally:
        embedded.remove(folder)
        shutil.rmtree(folder, ignore_errors=True)


def measure_verify(folder: Path) -> None:
    """Report verifications against the plain restore that each of them holds."""
    from recovery.backups import contents, create, source, verify
    from recovery.databases import database

    manifest = create.create(database("shop"))
    contents.unpack(source.find(manifest.id), folder / "plain")
    dump = folder / "plain" / contents.DUMP

    def verified() -> None:
        verification = verify.verify(manifest.id)
        assert verification.passed, verification.reason
        print(verification.steps)

    report(
        "restore-verify",
        [
            Pair(1000 * seconds(verified), 1000 * seconds(lambda: plain_restore(dump)))
            for _ in range(PAIRS)
        ],
        unit="time of a verification over pg_restore -j2 alone (pairs in ms)",
        target="<= 1.15",
        rows=ROWS,
    )


def plain_restore(dump: Path) -> None:
    """Restore into an empty database with PostgreSQL's own program and nothing else."""
    from recovery import programs
    from recovery.databases import database

    target = database("shop").on("plain")
    with database("shop").connect() as admin:
        admin.execute("CREATE DATABASE plain TEMPLATE template0")
    program = programs.programs_for(database("shop").server_version).path("pg_restore")
    with tempfile.TemporaryFile() as stderr:
        command: list[str | Path] = [program, "-j2", "-e", "-d", "plain", dump]
        process = programs.start(command, target, stderr, stdout=subprocess.DEVNULL)
        assert process.wait() == 0
    with database("shop").connect() as admin:
        admin.execute("DROP DATABASE plain WITH (FORCE)")


def measure_swap(admin_url: str) -> None:
    """Report the longest time that nobody of the clients got an answer, at each of five swaps."""
    from recovery.databases import database
    from recovery.restore import swap

    shop = database("shop")
    with psycopg.connect(admin_url, autocommit=True) as admin:
        admin.execute("CREATE DATABASE next TEMPLATE shop STRATEGY FILE_COPY")
    silences = []
    for _ in range(PAIRS):
        answers = answers_during(
            _url_of(admin_url, "shop"), lambda: swap.swap(shop, incoming="next", kept_as="kept")
        )
        silences.append(max(b - a for a, b in itertools.pairwise(sorted(answers))))
        with psycopg.connect(admin_url, autocommit=True) as admin:
            admin.execute("ALTER DATABASE kept RENAME TO next")
    report_time("restore-swap", silences, target="<= 1", rows=CLIENTS)


def answers_during(url: str, work: Callable[[], object]) -> list[float]:
    """Return when clients got answers while something was done, a second before and after it."""
    stopping = threading.Event()
    answers: list[float] = []

    def ask() -> None:
        while not stopping.is_set():
            try:
                with psycopg.connect(url) as connection:
                    connection.execute("SELECT 1")
                answers.append(time.monotonic())
            except psycopg.OperationalError:
                continue

    clients = [threading.Thread(target=ask) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    time.sleep(1)
    work()
    time.sleep(1)
    stopping.set()
    for client in clients:
        client.join()
    return answers


def seconds(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _url_of(admin_url: str, dbname: str) -> str:
    return urlunsplit(urlsplit(admin_url)._replace(path=f"/{dbname}"))


if __name__ == "__main__":
    main()

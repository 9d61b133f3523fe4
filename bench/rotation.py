"""P13: rotations/s of real PostgreSQL roles against `ALTER ROLE` and a login alone; the due query.

Ten thousand secrets, of which a thousand are due. The roles live in the server that the console
itself uses. Eight at a time on either side, as workers would.
"""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import unquote, urlsplit

import django
import psycopg
from psycopg import sql

from audit.capture.actors import acting_as, task_actor
from bench.console import environment_of, manage
from bench.result import Pair, report, report_time
from compliance_site.foundation import embedded

PAIRS = 5
SECRETS, DUE = 10_000, 1_000
ROLES = 48
AT_ONCE = 8


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="compliance-bench-"))
    # As root the services run as another user, who has to get here.
    folder.chmod(0o755)
    try:
        with embedded.running(folder) as endpoints:
            os.environ |= environment_of(endpoints, folder)
            manage(dict(os.environ), "migrate", "--verbosity", "0")
            django.setup()
            measure_due()
            with acting_as(task_actor("bench")):
                measure_rotations(endpoints.admin_url)
    finally:
        embedded.remove(folder)
        shutil.rmtree(folder, ignore_errors=True)


def measure_due() -> None:
    """Report how long the minute's look for due secrets takes."""
    from secrets_rotation import schedule
    from secrets_rotation.models import Policy, Secret

    now = datetime.now(UTC)
    policies = list(Policy.objects.all())
    Secret.objects.bulk_create(
        Secret(
            policy=policies[number % len(policies)],
            name=f"secret-{number}",
            rotator="postgresql_role",
            anchored_on=(rotated := _rotated(number, now)).date(),
            last_rotated_at=rotated,
        )
        for number in range(SECRETS)
    )
    seconds = []
    for _ in range(PAIRS + 1):
        started = time.perf_counter()
        found = list(schedule.due().values_list("pk", flat=True)[:20])
        seconds.append(time.perf_counter() - started)
        assert len(found) == 20
    assert schedule.due().count() == DUE
    report_time("rotation-due", seconds[1:], target="<= 0.050", rows=SECRETS)
    Secret.objects.all().delete()


def _rotated(number: int, now: datetime) -> datetime:
    return now - timedelta(days=400 if number < DUE else number % 30)


def measure_rotations(admin_url: str) -> None:
    """Report whole rotations against setting a password and logging in with it."""
    from secrets_rotation import catalogue

    url = urlsplit(admin_url)
    target = {
        "host": url.hostname,
        "port": url.port,
        "adminUser": url.username,
        "adminPassword": unquote(url.password or ""),
        "sslmode": "disable",
    }
    names = [f"bench_{number}" for number in range(ROLES)]
    with psycopg.connect(admin_url, autocommit=True) as admin:
        for name in names:
            admin.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(name)))
    ids = [
        catalogue.add(
            catalogue.Description(
                "DATABASE",
                name,
                "postgresql_role",
                target | {"username": name},
                override={"grace": timedelta(0)},
            )
        ).pk
        for name in names
    ]
    # A first value, so that what is measured has an old one to end.
    rate(rotate, ids)
    pairs = [
        Pair(rate(rotate, ids), rate(lambda name: set_and_log_in(admin_url, name), names))
        for _ in range(PAIRS)
    ]
    report(
        "rotation",
        pairs,
        unit="rotations/s over ALTER ROLE and a login",
        target=">= 0.5",
        rows=ROLES,
    )


def rotate(secret_id: int) -> None:
    """Rotate one secret to the end of its run, as the tick and a worker do."""
    from django.db import connections

    from secrets_rotation.models import Run, RunState, Secret, Trigger
    from secrets_rotation.runs import machine
    from secrets_rotation.runs.start import start

    with acting_as(task_actor("bench")):
        run = start(Secret.objects.get(pk=secret_id), trigger=Trigger.SCHEDULE)
        machine.advance(run.pk)
        assert Run.objects.get(pk=run.pk).state == RunState.REVOKED
    connections.close_all()


def set_and_log_in(admin_url: str, name: str) -> None:
    """Do the least that changes a password and knows that it works."""
    password = secrets.token_urlsafe(24)
    with psycopg.connect(admin_url, autocommit=True) as admin:
        verifier = admin.pgconn.encrypt_password(
            password.encode(), name.encode(), b"scram-sha-256"
        ).decode()
        statement = sql.SQL("ALTER ROLE {} PASSWORD {}")
        admin.execute(statement.format(sql.Identifier(name), sql.Literal(verifier)))
    url = urlsplit(admin_url)
    psycopg.connect(
        host=url.hostname, port=url.port, dbname="postgres", user=name, password=password
    ).close()


def rate[Item](work: Callable[[Item], None], items: list[Item]) -> float:
    """Return how many a second are done, so many at a time."""
    started = time.perf_counter()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(work, items))
    return len(items) / (time.perf_counter() - started)


if __name__ == "__main__":
    main()

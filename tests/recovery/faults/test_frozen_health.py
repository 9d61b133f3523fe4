"""PostgreSQL or Valkey accepts and never answers: health answers all the same."""

import os
import shutil
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from compliance_site.foundation import embedded
from compliance_site.foundation.embedded.home import find_home
from recovery.health.probes import FRESH_SECONDS
from tests.recovery.health.served import served
from tests.services import FAST, MARK

ADDRESSES = ("/health", "/health/ready", "/health/detailed", "/health/database", "/health/redis")
CLIENTS = 200
SECONDS = 2.0
PARTS = {"postgres": "database", "valkey": "redis"}
# By the frozen service: the addresses that must say so.
TELLING = {
    "postgres": {"/health/ready", "/health/detailed", "/health/database"},
    "valkey": {"/health/detailed", "/health/redis"},
}


@pytest.fixture(scope="module")
def console():
    folder = Path(tempfile.mkdtemp(prefix="health-tests-"))
    folder.chmod(0o755)
    programs = find_home(Path(os.environ[MARK])).path
    options = FAST | {"max_connections": "40", "shared_buffers": "16MB"}
    with embedded.running(folder, postgres_options=options, binaries=programs) as endpoints:
        home = find_home(folder)
        with served(endpoints, home, folder) as running:
            yield running
    embedded.remove(folder)
    shutil.rmtree(folder, ignore_errors=True)


def wait_until(condition, seconds=15.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def outlive_the_cache():
    time.sleep(FRESH_SECONDS + 0.1)


def flood(console, address):
    """Ask 200 times at once, half with a token; return the slowest, the statuses, the bodies' sizes."""
    answers = console.flood(address, clients=CLIENTS, tokens=("", console.token))
    return (
        max(answer.seconds for answer in answers),
        {answer.status for answer in answers},
        {len(answer.body) for answer in answers},
    )


@pytest.mark.parametrize(
    ("service", "address"),
    [(service, address) for service, telling in TELLING.items() for address in sorted(telling)],
)
def test_two_hundred_at_once_are_answered_in_time_by_one_probe_each(console, service, address):
    # A scrape asks as well: the second finds fresh answers.
    console.asked()
    before = console.asked()
    connections = console.connections_to(service)
    with console.frozen(service):
        outlive_the_cache()
        slowest, statuses, sizes = flood(console, address)
        others = {other: flood(console, other) for other in set(ADDRESSES) - TELLING[service]}
        # While it is still frozen: our side gives up by itself and leaves no connection.
        wait_until(lambda: console.connections_to(service) <= connections)
    probes = console.asked() - before

    print(f"{service} frozen, {address}: slowest of {CLIENTS} at once {slowest:.2f} s")
    assert max(slowest, *(other[0] for other in others.values())) < SECONDS
    assert statuses == {503}
    assert {status for _, found, _ in others.values() for status in found} == {200}
    # One of the flood; the scrape that tells may come when that is not fresh any more.
    assert 1 <= probes[PARTS[service]] <= 2
    if service == "postgres":
        # Nobody is known while the database cannot say who it is.
        assert sizes == {2}


def test_a_database_that_freezes_between_its_check_and_the_callers_is_given_up(console):
    outlive_the_cache()
    headers = {"Authorization": f"Token {console.token}"}
    assert console.get("/health/database", headers=headers).json()["status"] == "healthy"
    # Nothing is remembered of these credentials, while the check's answer is still fresh.
    with console.frozen("postgres"):
        answers = console.flood("/health/detailed", clients=CLIENTS, tokens=(f"{console.token}x",))

    slowest = max(answer.seconds for answer in answers)
    print(f"frozen after its check: slowest of {CLIENTS} at once {slowest:.2f} s")
    assert slowest < SECONDS


def test_metrics_are_served_and_say_so_while_the_database_is_frozen(console):
    errors = figure(console.metrics(), "database_connection_errors")
    with console.frozen("postgres"):
        outlive_the_cache()
        began = time.monotonic()
        text = console.metrics()
        took = time.monotonic() - began

    print(f"metrics while PostgreSQL is frozen: {took:.2f} s")
    assert took < SECONDS + 1
    assert figure(text, 'health_check_status{component="database"}') == 0
    assert figure(text, 'health_check_status{component="redis"}') == 1
    assert figure(text, "recovery_up") == figure(text, "secret_rotation_up") == 0
    assert figure(text, "database_connection_errors") > errors
    assert "backup_success_rate{" not in text


def test_metrics_end_by_themselves_when_the_database_freezes_after_its_check(console):
    wait_until(lambda: figure(console.metrics(), "recovery_up") == 1)
    with console.frozen("postgres"):
        began = time.monotonic()
        text = console.metrics()
        took = time.monotonic() - began

    print(f"metrics, frozen after the check: {took:.2f} s")
    assert took < 3 * SECONDS + 1
    assert figure(text, "recovery_up") == 0


def test_a_token_is_not_looked_up_in_a_database_that_is_frozen(console):
    with console.frozen("postgres"):
        outlive_the_cache()
        answer = console.get("/metrics", headers={"Authorization": f"Token {console.token}"})

    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "unavailable"


def figure(text, name):
    (line,) = [line for line in text.splitlines() if line.startswith(f"{name} ")]
    return float(line.rpartition(" ")[2])


@pytest.mark.parametrize(
    ("service", "address"), [("postgres", "/health/database"), ("valkey", "/health/redis")]
)
def test_what_goes_on_is_healthy_again(console, service, address):
    with console.frozen(service):
        wait_until(lambda: console.get(address).status_code == 503)

    wait_until(lambda: console.get(address).status_code == 200)


def test_the_probe_waits_for_no_standby(console):
    """A commit that waits for a dead one ends by no timeout, and others' wait is not our illness."""
    name = urlsplit(console.endpoints.database_url).path.strip("/")
    with psycopg.connect(console.endpoints.admin_url, autocommit=True) as administrator:
        administrator.execute(f"ALTER DATABASE {name} SET synchronous_commit = on")
        administrator.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
        administrator.execute("SELECT pg_reload_conf()")
        try:
            wait_until(lambda: standbys(administrator) == "nobody")
            outlive_the_cache()
            assert console.get("/health/database").status_code == 200
        finally:
            administrator.execute("ALTER SYSTEM RESET synchronous_standby_names")
            administrator.execute("SELECT pg_reload_conf()")


def standbys(administrator):
    return administrator.execute("SHOW synchronous_standby_names").fetchone()[0]

"""PostgreSQL and Valkey for the tests, started before Django reads its settings.

Loaded with `-p tests.services`: pytest-django imports the settings before any conftest.
Each run has its own servers in a folder of its own, each xdist worker its own databases,
so that neither ports nor order nor a console that someone left running matter.
"""

import logging
import os
import secrets
import shutil
import tempfile
from pathlib import Path

import psycopg
import pyrage
import pytest

from compliance_site.foundation import embedded

BASE_DIR = Path(__file__).resolve().parent.parent
# Nothing here survives a power cut, and nothing needs to.
FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
MARK = "COMPLIANCE_TEST_VAR"
TEMPLATE = "test_template"


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(early_config):
    """Start the services in the process that the workers inherit from, before Django is read."""
    if MARK not in os.environ:
        start_services(early_config)
    use_queue_of_worker(os.environ.get("PYTEST_XDIST_WORKER", "gw0"))
    return (yield)


def pytest_configure(config):
    # A line for each request of a load test would bury what failed.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    config.addinivalue_line("markers", "root_only: of what only root can do; left out otherwise")


def pytest_collection_modifyitems(config, items):
    """Leave out, rather than skip: a skipped test is one that this machine should have run."""
    if os.geteuid() != 0:
        items[:] = [item for item in items if "root_only" not in item.keywords]


def start_services(config):
    var = Path(tempfile.mkdtemp(prefix="compliance-tests-"))
    # As root the servers run as another user, who has to get here.
    var.chmod(0o755)
    os.environ[MARK] = str(var)
    services = embedded.running(var, postgres_options=FAST | {"max_connections": "300"})
    endpoints = services.__enter__()
    config.add_cleanup(lambda: shutil.rmtree(var, ignore_errors=True))
    config.add_cleanup(lambda: embedded.remove(var))
    config.add_cleanup(lambda: services.__exit__(None, None, None))
    os.environ |= environment(endpoints)


def use_queue_of_worker(worker):
    """Give each xdist worker a Redis database of its own: tasks must not cross."""
    url, number = os.environ["REDIS_URL"].rpartition("/")[0], worker.removeprefix("gw")
    os.environ["REDIS_URL"] = f"{url}/{number}"


def environment(endpoints):
    return {
        "COMPLIANCE_ENV": "development",
        "SECRET_KEY": secrets.token_urlsafe(64),
        "COMPLIANCE_MASTER_KEY": secrets.token_hex(32),
        "DATABASE_URL": endpoints.database_url,
        "DATABASE_OWNER_URL": endpoints.owner_url,
        "DATABASE_ADMIN_URL": endpoints.admin_url,
        "REDIS_URL": endpoints.redis_url,
        "POSTGRESQL_PROGRAMS": str(embedded.postgres_programs(Path(os.environ[MARK]))),
        "BACKUP_IDENTITY": str(pyrage.x25519.Identity.generate()),
        "BACKUP_STORAGE_PATH": str(Path(os.environ[MARK]) / "backups"),
        "RECOVERY_FOLDER": str(Path(os.environ[MARK]) / "recovery"),
    }


def execute_as_administrator(*statements):
    with psycopg.connect(os.environ["DATABASE_ADMIN_URL"], autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


@pytest.fixture(scope="session")
def administrator():
    return execute_as_administrator

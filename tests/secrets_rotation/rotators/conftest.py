"""Targets of the tests' own: roles on the shared PostgreSQL, a PostgreSQL and a Valkey to mistreat."""

import os
import secrets
import shutil
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

import psycopg
import pytest
from psycopg import sql

from compliance_site.foundation import embedded
from compliance_site.foundation.embedded import postgres
from compliance_site.foundation.embedded.home import find_home
from compliance_site.foundation.secret_text import SecretText
from secrets_rotation.declared import merged
from secrets_rotation.exceptions import LeaseLostError
from secrets_rotation.rotators.base import Credential
from tests.services import FAST, MARK

LOGGED = FAST | {"max_connections": "40", "shared_buffers": "16MB", "log_statement": "all"}
LOGGED |= {"shared_preload_libraries": "pg_stat_statements"}


@dataclass
class Lease:
    """A guard: held for so many seconds, lost at the confirmation of that number (0 for never)."""

    seconds: float = 60.0
    lost_at: int = 0
    # What else happens at each confirmation, given its number.
    meanwhile: object = None
    confirmed: int = 0
    ends_at: float = field(default=0.0)

    def __post_init__(self):
        self.ends_at = time.monotonic() + self.seconds

    def confirm(self):
        self.confirmed += 1
        if self.meanwhile:
            self.meanwhile(self.confirmed)
        if self.confirmed == self.lost_at:
            raise LeaseLostError("the lease is lost")

    def seconds_left(self):
        return self.ends_at - time.monotonic()


@dataclass(frozen=True)
class Cluster:
    """A PostgreSQL server, by the URL of its superuser."""

    admin_url: str
    home: object = None

    @property
    def target(self):
        url = urlsplit(self.admin_url)
        return {
            "host": url.hostname,
            "port": url.port,
            "sslmode": "disable",
            "adminUser": url.username,
            "adminPassword": SecretText(unquote(url.password)),
        }

    def execute(self, statement, *names):
        with psycopg.connect(self.admin_url, autocommit=True) as connection:
            identifiers = [sql.Identifier(name) for name in names]
            cursor = connection.execute(sql.SQL(statement).format(*identifiers))
            return cursor.fetchall() if cursor.description else None

    def password_of(self, role):
        with psycopg.connect(self.admin_url) as connection:
            query = "SELECT rolpassword FROM pg_authid WHERE rolname = %s"
            return connection.execute(query, [role]).fetchone()[0]

    def connect(self, username, password, **options):
        url = urlsplit(self.admin_url)
        return psycopg.connect(
            host=url.hostname,
            port=url.port,
            dbname="postgres",
            user=username,
            password=password,
            autocommit=True,
            **options,
        )

    def processes(self):
        postmaster = postgres.find(self.home)
        return [postmaster, *postmaster.children()]


def credential(value, username="", version_id=1, superseded_at=None):
    return Credential(username, SecretText(value), version_id, superseded_at)


def built(rotator, target):
    """Return the rotator with the defaults of its settings."""
    return rotator(merged(rotator.settings, target, None))


@pytest.fixture
def cluster():
    return Cluster(os.environ["DATABASE_ADMIN_URL"])


@pytest.fixture
def make_role(cluster):
    roles = []

    def make(name="", options="LOGIN"):
        name = name or f"role_{secrets.token_hex(6)}"
        cluster.execute(f"CREATE ROLE {{}} {options}", name)
        roles.append(name)
        return name

    yield make
    for name in reversed(roles):
        cluster.execute("DROP OWNED BY {}", name)
        cluster.execute("DROP ROLE {}", name)


@pytest.fixture(scope="session")
def programs():
    """The folder into which the tests' own services unpacked their programs."""
    return find_home(Path(os.environ[MARK])).path


@pytest.fixture(scope="session")
def own_cluster(programs):
    """A PostgreSQL that tests may freeze, reconfigure and read the log of."""
    folder = Path(tempfile.mkdtemp(prefix="rotator-tests-"))
    folder.chmod(0o755)
    var = folder / "var"
    with embedded.running(var, postgres_options=LOGGED, binaries=programs) as endpoints:
        yield Cluster(endpoints.admin_url, find_home(var))
    embedded.remove(var)
    shutil.rmtree(folder)

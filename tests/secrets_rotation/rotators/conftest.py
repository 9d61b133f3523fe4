"""Targets of the tests' own: roles on the shared PostgreSQL, a PostgreSQL and a Valkey to mistreat."""

import ipaddress
import os
import secrets
import shutil
import tempfile
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import unquote, urlsplit

import psycopg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
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

    def reload(self, setting, value):
        """Read the configuration again and wait until new sessions see it."""
        self.execute("SELECT pg_reload_conf()")
        deadline = time.monotonic() + 10
        while self.execute(f"SHOW {setting}") != [(value,)]:
            assert time.monotonic() < deadline

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


@dataclass(frozen=True)
class Certificate:
    """For the address 127.0.0.1, signed by itself."""

    certificate: Path
    key: Path


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certificate")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "target of a test")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(days=1))
    builder = builder.not_valid_after(now + timedelta(days=1))
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    for extension in (
        x509.BasicConstraints(ca=True, path_length=None),
        x509.SubjectAlternativeName([address]),
        x509.SubjectKeyIdentifier.from_public_key(key.public_key()),
    ):
        builder = builder.add_extension(extension, critical=False)
    pem = serialization.Encoding.PEM
    signed = builder.sign(key, hashes.SHA256())
    (folder / "certificate.pem").write_bytes(signed.public_bytes(pem))
    unlocked = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "key.pem").write_bytes(unlocked)
    return Certificate(folder / "certificate.pem", folder / "key.pem")


@pytest.fixture
def encrypted_cluster(own_cluster, certificate):
    """Our own cluster, speaking TLS for the time of a test."""
    data = own_cluster.home.postgres_data
    for name, source in (
        ("server.crt", certificate.certificate),
        ("server.key", certificate.key),
    ):
        (data / name).write_bytes(source.read_bytes())
        (data / name).chmod(0o600)
        own_cluster.home.account.own(data / name)
    own_cluster.execute("ALTER SYSTEM SET ssl = on")
    own_cluster.reload("ssl", "on")
    yield own_cluster
    own_cluster.execute("ALTER SYSTEM RESET ssl")
    own_cluster.reload("ssl", "off")


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

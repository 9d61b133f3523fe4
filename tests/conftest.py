import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlsplit, urlunsplit

import httpx
import psycopg
import pytest
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import Group, User
from django.core.management import call_command
from django.db import connections
from knox.models import AuthToken
from rest_framework.test import APIClient

from audit.capture import redaction, writer
from audit.capture.actors import Actor, acting_as
from audit.ledger import partitions
from audit.models import AuditLog
from compliance_site.foundation.roles import Role
from tests.services import execute_as_administrator

NOW = datetime(2025, 11, 9, 10, 30, tzinfo=UTC)
PASSWORD = "correct horse battery staple"


def database_name(worker_id, kind):
    return f"{kind}_{worker_id}"


def use_database(name):
    """Point both aliases, and the processes that tests start, at another database."""
    connections.close_all()
    for alias in ("default", "owner"):
        connections[alias].settings_dict["NAME"] = name
    for variable in ("DATABASE_URL", "DATABASE_OWNER_URL"):
        os.environ[variable] = urlunsplit(urlsplit(os.environ[variable])._replace(path=f"/{name}"))


def make_database(name, template=None):
    with psycopg.connect(os.environ["DATABASE_ADMIN_URL"], autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        source = f"TEMPLATE {template} STRATEGY FILE_COPY" if template else ""
        connection.execute(f"CREATE DATABASE {name} OWNER compliance_owner {source}")


@pytest.fixture(scope="session")
def django_db_setup(django_db_blocker, worker_id):
    """Migrate as the owner and run as the runtime role: the production arrangement.

    The template itself stays as it was migrated: even what is rolled back uses up ids.
    """
    template, name = database_name(worker_id, "template"), database_name(worker_id, "shared")
    make_database(template)
    use_database(template)
    with django_db_blocker.unblock():
        call_command("migrate", verbosity=0)
        connections.close_all()
    make_database(name, template)
    use_database(name)
    yield
    connections.close_all()


@pytest.fixture
def committed_db(django_db_setup, django_db_blocker, worker_id, settings, tmp_path, monkeypatch):
    """A database of the test's own, in which everything really commits.

    For threads and other processes; the append-only tables could not be emptied afterwards.
    """
    template, name = database_name(worker_id, "template"), database_name(worker_id, "committed")
    connections.close_all()
    make_database(name, template)
    use_database(name)
    # For this process and for those that the test starts.
    settings.AUDIT_SPOOL = tmp_path / "audit-spool" / "entries"
    monkeypatch.setenv("AUDIT_SPOOL", str(settings.AUDIT_SPOOL))
    # One that an import of the WSGI application started has the settings of another place.
    writer.close()
    with django_db_blocker.unblock():
        yield name
        writer.close()
        connections.close_all()
    use_database(database_name(worker_id, "shared"))
    execute_as_administrator(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def worker_id(request):
    return getattr(request.config, "workerinput", {"workerid": "main"})["workerid"]


@pytest.fixture(autouse=True)
def forget_partitions():
    """What a test's transaction made is rolled back; what it remembers must be too."""
    yield
    partitions._seen.clear()


@pytest.fixture
def keyless_redaction():
    """Redact as a process without Django does."""
    installed = redaction.installed()
    redaction.install(redaction.Redactor())
    yield
    redaction.install(installed)


@pytest.fixture
def actor():
    """Record as a command, for tests that call domain code directly."""
    actor = Actor("command", "tester: manage.py test")
    with acting_as(actor, request_id="test-request"):
        yield actor


@pytest.fixture(scope="session")
def password_hash():
    """Hashed once: the production hasher takes half a second, and is right to."""
    return make_password(PASSWORD)


@pytest.fixture
def make_user(password_hash):
    def make(username="alice", *roles, **overrides):
        user = User.objects.create(username=username, password=password_hash, **overrides)
        user.groups.set(Group.objects.filter(name__in=roles))
        return user

    return make


@pytest.fixture
def make_log():
    def make(**overrides):
        defaults = {
            "actor_type": "user",
            "user_id": 1,
            "actor": "a.meyer",
            "action": "CREATE",
            "resource": "/bot/start",
            "method": "POST",
            "status_code": 200,
            "ip_address": "192.168.1.100",
            "user_agent": "Mozilla/5.0",
            "request_data": '{"strategy":"RSI_CROSS"}',
            "created_at": NOW,
            "source": "trading-api",
        }
        log = AuditLog(**defaults | overrides)
        partitions.ensure([log.created_at])
        log.save(force_insert=True)
        return log

    return make


@pytest.fixture
def token_of():
    def token(user, **options):
        return AuthToken.objects.create(user=user, **options)[1]

    return token


@pytest.fixture
def api_as(make_user, token_of):
    """A client with the token of a new user of that role; without a role, of nobody."""

    def client(role=None, username=None):
        api = APIClient()
        if role:
            user = make_user(username or f"{role}-user", role)
            api.credentials(HTTP_AUTHORIZATION=f"Token {token_of(user)}")
        return api

    return client


@pytest.fixture
def auditor(api_as):
    return api_as(Role.AUDITOR)


@pytest.fixture
def service(api_as):
    return api_as(Role.SERVICE, "trading-api")


@pytest.fixture
def client_as(client, make_user):
    """A browser signed in with a role, or as a superuser for `admin`."""

    def sign_in(role):
        if role == "admin":
            user = make_user("root", is_superuser=True, is_staff=True)
        else:
            user = make_user(f"{role}-person", role)
        client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
        return client

    return sign_in


@dataclass(frozen=True)
class RunningConsole:
    """A web server of the test's own, on the database of the test's own."""

    url: str
    process: subprocess.Popen

    def get(self, path, **options):
        return httpx.get(f"{self.url}{path}", **options)


@pytest.fixture
def console(committed_db, tmp_path):
    """The console's web server as it is really run, in a process of its own."""
    for _ in range(5):  # another process may take the port that was free a moment ago
        port = free_port()
        with open(tmp_path / "console.log", "w") as log:
            command = [sys.executable, "-m", "granian", "--interface", "wsgi", "--no-ws"]
            command += ["--port", str(port), "--blocking-threads", "8"]
            process = subprocess.Popen(
                [*command, "compliance_site.wsgi:application"], stdout=log, stderr=log
            )
        if wait_until_healthy(f"http://127.0.0.1:{port}", process):
            break
    else:
        pytest.fail((tmp_path / "console.log").read_text())
    yield RunningConsole(f"http://127.0.0.1:{port}", process)
    process.terminate()
    process.wait(30)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until_healthy(url, process):
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        try:
            if httpx.get(f"{url}/health").json()["status"] == "healthy":
                return True
        except (httpx.TransportError, ValueError):
            time.sleep(0.1)
    return False

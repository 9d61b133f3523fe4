"""Folders for embedded services that an unprivileged user reaches: pytest's own are 0700."""

import shutil
import socket
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
import redis

from compliance_site.foundation import embedded

# Durability is PostgreSQL's own business: these tests kill processes, never the machine.
FAST = {"fsync": "off", "shared_buffers": "16MB", "max_connections": "20"}


@pytest.fixture(scope="session")
def binaries():
    folder = Path(tempfile.mkdtemp(prefix="console-binaries-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def make_var():
    folders = []

    def make(mode=0o755):
        folder = Path(tempfile.mkdtemp(prefix="console-test-"))
        folder.chmod(mode)
        folders.append(folder)
        return folder / "var"

    yield make
    for folder in folders:
        embedded.remove(folder / "var")
        shutil.rmtree(folder)


@pytest.fixture
def var(make_var):
    return make_var()


@pytest.fixture
def start(binaries):
    return lambda var: embedded.start(var, postgres_options=FAST, binaries=binaries)


@pytest.fixture(scope="module")
def shared(binaries):
    """A started server's `var` and addresses, for tests that only look."""
    folder = Path(tempfile.mkdtemp(prefix="console-test-"))
    folder.chmod(0o755)
    with embedded.running(folder / "var", postgres_options=FAST, binaries=binaries) as endpoints:
        yield folder / "var", endpoints
    embedded.remove(folder / "var")
    shutil.rmtree(folder)


@pytest.fixture
def running(binaries):
    return lambda var: embedded.running(var, postgres_options=FAST, binaries=binaries)


@pytest.fixture
def query():
    def query(url, statement):
        with psycopg.connect(url) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else None

    return query


@pytest.fixture
def broker():
    return lambda endpoints: redis.Redis.from_url(endpoints.redis_url, decode_responses=True)


@pytest.fixture
def listen():
    """Take the port of a URL, as a foreign process would."""
    listeners = []

    def listen(url):
        listeners.append(socket.create_server(("127.0.0.1", urlsplit(url).port)))

    yield listen
    for listener in listeners:
        listener.close()

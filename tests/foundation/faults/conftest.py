import os
import shutil
import signal
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.db import connections

from compliance_site.foundation import embedded
from compliance_site.foundation.embedded import postgres
from compliance_site.foundation.embedded.home import find_home
from compliance_site.foundation.postgresql import DEADLINE, silence
from tests.recovery.health.served import send
from tests.services import FAST, MARK


class Server:
    """A PostgreSQL of the module's own, to freeze."""

    def __init__(self, endpoints, home):
        self.url = urlsplit(endpoints.owner_url)
        self.home = home

    @contextmanager
    def frozen(self):
        """Stop all its processes; not for ever, so that who waits for them fails and does not hang."""
        found = postgres.find(self.home)
        processes = [found, *found.children(recursive=True)]
        thaw = threading.Timer(20, send, [processes, signal.SIGCONT])
        thaw.start()
        send(processes, signal.SIGSTOP)
        try:
            yield
        finally:
            thaw.cancel()
            send(processes, signal.SIGCONT)

    @property
    def settings(self):
        return {
            "NAME": self.url.path.strip("/"),
            "USER": self.url.username,
            "PASSWORD": self.url.password,
            "HOST": self.url.hostname,
            "PORT": self.url.port,
        }


@pytest.fixture(scope="module")
def cluster():
    folder = Path(tempfile.mkdtemp(prefix="deadline-tests-"))
    folder.chmod(0o755)
    programs = find_home(Path(os.environ[MARK])).path
    with embedded.running(folder, postgres_options=FAST, binaries=programs) as endpoints:
        yield Server(endpoints, find_home(folder))
    embedded.remove(folder)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def server(cluster, django_db_blocker, monkeypatch):
    """Lead the default connections of this process to a server that may be frozen."""
    connections.close_all()
    for name, value in (cluster.settings | {DEADLINE: 30}).items():
        monkeypatch.setitem(connections.settings["default"], name, value)
    with django_db_blocker.unblock():
        yield cluster
        wait_until(lambda: not silence.SERVER.is_silent)
        connections.close_all()


def wait_until(condition, seconds=15.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)

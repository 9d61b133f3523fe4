import json
import signal
import tempfile
import threading
import time
from contextlib import suppress
from datetime import timedelta

import httpx
import psutil
import pytest
from django.utils import timezone

from audit.capture import intents
from audit.models import AuditLog, Intent
from tests.faults.slow_views import PIECE, PIECES

PATIENCE = 30
SIZE = len(PIECE) * PIECES
# Far below the 100 MB that pass, far above what a request costs otherwise.
GROWTH = 40 * 1024 * 1024


@pytest.fixture
def slow_console(monkeypatch, request):
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "tests.faults.slow_settings")
    return request.getfixturevalue("console")


def wait_for(query):
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if found := query.first():
            return found
        time.sleep(0.1)
    pytest.fail(f"nothing came of {query.query}")


def processes_of(console):
    server = psutil.Process(console.process.pid)
    return [server, *server.children(recursive=True)]


def kill(console):
    for process in processes_of(console):
        process.send_signal(signal.SIGKILL)


def the_closed_orphan():
    """Close orphans twice, as if the time had come, and return the one entry there is."""
    later = timezone.now() + timedelta(minutes=16)
    assert intents.close_orphans(later) == 1
    assert intents.close_orphans(later) == 0
    return AuditLog.objects.get()


def test_a_server_killed_in_a_written_ahead_request_leaves_it_unknown(slow_console):
    def ask():
        with suppress(httpx.TransportError):
            httpx.post(f"{slow_console.url}/slow/change", timeout=60)

    asking = threading.Thread(target=ask)
    asking.start()
    intent = wait_for(Intent.objects.filter(resource="/slow/change"))
    kill(slow_console)
    asking.join()

    log = the_closed_orphan()
    assert (log.event_id, log.method, log.status_code) == (intent.event_id, "POST", None)
    assert json.loads(log.details) == {"outcome": "unknown"}


def test_a_server_killed_in_a_stream_leaves_it_unknown(slow_console):
    with (
        suppress(httpx.TransportError),
        httpx.stream("GET", f"{slow_console.url}/slow/stream") as answer,
    ):
        chunks = answer.iter_bytes()
        next(chunks)
        kill(slow_console)
        list(chunks)

    log = the_closed_orphan()
    assert (log.resource, log.status_code) == ("/slow/stream", None)
    assert json.loads(log.details) == {"outcome": "unknown"}


def test_a_client_that_leaves_a_stream_abandons_it(slow_console):
    with httpx.stream("GET", f"{slow_console.url}/slow/stream") as answer:
        next(answer.iter_bytes())

    log = wait_for(AuditLog.objects.filter(resource="/slow/stream"))
    assert (log.event_id, log.status_code) == (Intent.objects.get().event_id, 200)
    assert json.loads(log.details) == {"stream": "abandoned"}
    assert 0 < log.response_bytes < 1_200 * len(PIECE)


class PeakMemory:
    """The most that a console's processes took while the block ran, above the start."""

    def __init__(self, console):
        self.processes = processes_of(console)
        self.start = self.peak = self.now()
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.watch)

    def now(self):
        return sum(process.memory_info().rss for process in self.processes)

    def watch(self):
        while not self.over.wait(0.02):
            self.peak = max(self.peak, self.now())

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exception):
        self.over.set()
        self.thread.join()

    @property
    def growth(self):
        return self.peak - self.start


def warm_up(console):
    """Have the server import what its first request needs, which is not the request's memory."""
    httpx.get(f"{console.url}/audit/logs")


@pytest.mark.parametrize("path", ["/large/download", "/large/file"])
def test_a_large_download_takes_little_memory(slow_console, path):
    warm_up(slow_console)

    with (
        PeakMemory(slow_console) as memory,
        httpx.stream("GET", f"{slow_console.url}{path}", timeout=120) as answer,
    ):
        assert sum(len(chunk) for chunk in answer.iter_raw()) == SIZE

    print(f"{path}: {memory.growth / 1e6:.0f} MB more")
    assert memory.growth < GROWTH
    log = wait_for(AuditLog.objects.filter(resource=path))
    assert log.response_bytes == SIZE
    assert json.loads(log.details) == {"stream": "completed"}


@pytest.mark.parametrize("path", ["/large/upload", "/large/form"])
def test_a_large_upload_takes_little_memory(slow_console, path):
    warm_up(slow_console)

    with PeakMemory(slow_console) as memory, tempfile.TemporaryFile() as large:
        large.truncate(SIZE)
        body = {"files": {"file": large}} if path == "/large/form" else {"content": large}
        answer = httpx.post(f"{slow_console.url}{path}", timeout=120, **body)

    print(f"{path}: {memory.growth / 1e6:.0f} MB more")
    assert list(answer.json().values()) == [SIZE]
    assert memory.growth < GROWTH
    assert AuditLog.objects.get(resource=path).status_code == 200

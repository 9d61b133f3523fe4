"""PostgreSQL accepts and never answers: requests end, and the web server keeps its threads."""

import asyncio
import os
import shutil
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import httpx
import psycopg
import pytest
from django.contrib.auth.hashers import make_password

from compliance_site.foundation import embedded
from compliance_site.foundation.embedded.home import find_home
from tests.conftest import PASSWORD
from tests.faults.test_export_left import ENTRIES, MANY
from tests.recovery.health.served import served
from tests.services import FAST, MARK

AT_ONCE = 32
PAGE, API = "/admin/audit/auditlog/", "/backups"
# One second of patience, three for the server to answer a question of its own, and some to spare.
UNTIL_KNOWN = 7.0
HEALTHY = 2.0
SUPERUSER = """
INSERT INTO auth_user (username, password, is_superuser, is_staff, is_active, first_name,
    last_name, email, date_joined)
VALUES ('root', %s, true, true, true, '', '', '', now())
"""
RECORDED = """
SELECT status_code, count(DISTINCT request_id) FROM audit_log
WHERE request_id LIKE %s GROUP BY status_code
"""
STREAM_ENDED = """
SELECT details::json ->> 'stream' FROM audit_log WHERE request_id = 'export-frozen' AND method <> ''
"""


@pytest.fixture(scope="module")
def console():
    folder = Path(tempfile.mkdtemp(prefix="frozen-tests-"))
    folder.chmod(0o755)
    programs = find_home(Path(os.environ[MARK])).path
    with embedded.running(folder, postgres_options=FAST, binaries=programs) as endpoints:
        home = find_home(folder)
        with served(endpoints, home, folder) as running:
            yield running
    embedded.remove(folder)
    shutil.rmtree(folder, ignore_errors=True)


def execute(console, statement, parameters):
    name = console.endpoints.database_url.rpartition("/")[2]
    with psycopg.connect(console.endpoints.admin_url, dbname=name, autocommit=True) as session:
        cursor = session.execute(statement, parameters)
        return cursor.fetchall() if cursor.description else []


@pytest.fixture(scope="module")
def cookies(console):
    """The cookies of somebody who is signed in."""
    execute(console, SUPERUSER, [make_password(PASSWORD)])
    with httpx.Client(base_url=console.url, timeout=30) as client:
        client.get("/admin/login/")
        form = {"csrfmiddlewaretoken": client.cookies["csrftoken"]}
        form |= {"username": "root", "password": PASSWORD}
        assert client.post("/admin/login/", data=form).status_code == 302
        return {"Cookie": f"sessionid={client.cookies['sessionid']}"}


@dataclass(frozen=True)
class Asked:
    status: int
    retry_after: str | None
    body: str
    seconds: float


class Burst:
    """Half of the requests want a page, half use the API, all at once."""

    def __init__(self, console, cookies):
        self.url = console.url
        self.credentials = {PAGE: cookies, API: {"Authorization": f"Token {console.token}"}}

    def ask(self, name):
        return asyncio.run(self._ask_all(name))

    async def _ask_all(self, name):
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=self.url, timeout=60, limits=limits) as client:
            asking = [
                self._ask(client, (PAGE, API)[number % 2], f"{name}-{number}")
                for number in range(AT_ONCE)
            ]
            return await asyncio.gather(*asking)

    async def _ask(self, client, path, request_id):
        began = time.monotonic()
        headers = self.credentials[path] | {"X-Request-ID": request_id}
        answer = await client.get(path, headers=headers)
        retry = answer.headers.get("Retry-After")
        return Asked(answer.status_code, retry, answer.text, time.monotonic() - began)


class HealthWatch:
    """Asks `/health` every 0.2 s, each time on a connection of its own."""

    def __init__(self, console):
        self.url = f"{console.url}/health"
        self.answers = []
        self.over = threading.Event()
        self.threads = []

    def __enter__(self):
        self.began = time.monotonic()
        self.clock = threading.Thread(target=self._run)
        self.clock.start()
        return self

    def __exit__(self, *exception):
        self.over.set()
        self.clock.join()
        for thread in self.threads:
            thread.join()

    def _run(self):
        while not self.over.wait(0.2):
            self.threads.append(threading.Thread(target=self._ask))
            self.threads[-1].start()

    def _ask(self):
        asked = time.monotonic()
        assert httpx.get(self.url, timeout=60).status_code == 200
        self.answers.append((asked, time.monotonic() - asked))

    @property
    def late_until(self):
        """When the last question was asked that was answered too late, since the beginning."""
        late = [asked - self.began for asked, took in self.answers if took > HEALTHY]
        return max(late, default=0.0)

    @property
    def slowest(self):
        return max(took for _, took in self.answers)


def wait_until(condition, seconds=30.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_the_web_server_gets_its_threads_back_and_keeps_them(console, cookies):
    burst = Burst(console, cookies)
    # Every thread has a connection that is good.
    assert {asked.status for asked in burst.ask("before")} == {200}

    with console.frozen("postgres"):
        with HealthWatch(console) as first_health:
            first = burst.ask("first")
        with HealthWatch(console) as second_health:
            second = burst.ask("second")
            time.sleep(2)
    thawed_at = time.monotonic()
    wait_until(lambda: {asked.status for asked in burst.ask("after")} == {200})
    recovered = time.monotonic() - thawed_at

    slowest = [max(asked.seconds for asked in answers) for answers in (first, second)]
    print(
        f"{AT_ONCE} requests: slowest {slowest[0]:.1f} s, then {slowest[1]:.1f} s; health late for "
        f"{first_health.late_until:.1f} s, then at most {second_health.slowest:.2f} s; "
        f"served again after {recovered:.1f} s"
    )
    assert slowest[0] < UNTIL_KNOWN
    assert slowest[1] < HEALTHY
    assert first_health.late_until < UNTIL_KNOWN - HEALTHY
    assert second_health.slowest < HEALTHY
    assert recovered < 5
    for asked in (*first, *second):
        assert (asked.status, asked.retry_after) == (503, "5")
        assert "The database does not answer" in asked.body


def test_what_was_refused_meanwhile_is_recorded(console, cookies):
    burst = Burst(console, cookies)
    burst.ask("warm")
    with console.frozen("postgres"):
        burst.ask("refused")

    wait_until(lambda: execute(console, RECORDED, ["refused-%"]) == [(503, AT_ONCE)])


def test_an_export_breaks_off_and_is_recorded_as_failed(console, cookies):
    execute(console, MANY, [ENTRIES])
    headers = cookies | {"X-Request-ID": "export-frozen"}
    with httpx.stream("GET", f"{console.url}/audit/export", headers=headers, timeout=60) as answer:
        chunks = answer.iter_raw()
        lines = next(chunks).count(b"\n")
        with console.frozen("postgres"):
            began = time.monotonic()
            lines += sum(chunk.count(b"\n") for chunk in chunks)
            took = time.monotonic() - began

    print(f"an export of which no rows came ended after {took:.1f} s and {lines} lines")
    assert took < UNTIL_KNOWN
    assert lines < ENTRIES
    wait_until(lambda: execute(console, STREAM_ENDED, []) == [("failed",)])

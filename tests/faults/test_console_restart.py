"""A service goes on while its console is killed and comes back: nothing missing, nothing twice."""

import asyncio
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from django.db import connection

from audit.capture.asgi import AuditMiddleware
from audit.capture.delivery import DeliveryCounts
from compliance_site.foundation.roles import Role
from tests.conftest import free_port, wait_until_healthy
from tests.faults.test_killed_web_server import kill_all

KILLS = 4
STORED = """
SELECT count(*), count(DISTINCT event_id), count(DISTINCT resource)
FROM audit_log WHERE source = 'trading-api' AND resource LIKE '/orders/%'
"""


class Console:
    """A web server on a port of its own choice, which it keeps over its deaths."""

    def __init__(self, log):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = log
        self.process = None

    def start(self):
        command = [sys.executable, "-m", "granian", "--interface", "wsgi", "--no-ws"]
        command += ["--port", str(self.port), "--blocking-threads", "8"]
        self.process = subprocess.Popen(
            [*command, "compliance_site.wsgi:application"],
            stdout=self.log,
            stderr=self.log,
        )
        assert wait_until_healthy(self.url, self.process)

    def kill(self):
        """Kill -9 the server and its worker process, whatever they are doing."""
        kill_all(self.process.pid)
        self.process.wait(10)

    def die_and_return(self):
        """Come up and be killed, again and again; in the end it stays."""
        self.start()
        for _ in range(KILLS):
            time.sleep(1.5)
            self.kill()
            time.sleep(1)
            self.start()


def eventually(is_true):
    deadline = time.monotonic() + 90
    while not is_true() and time.monotonic() < deadline:
        time.sleep(0.1)


async def answer_empty(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def receive_nothing():
    return {"type": "http.request", "body": b"", "more_body": False}


async def discard(message):
    pass


async def call_while(app, is_going_on):
    """Call the service until the console's ordeal is over; return how many calls that were."""
    calls = 0
    while is_going_on():
        scope = {
            "type": "http",
            "method": "GET",
            "path": f"/orders/{calls}",
            "query_string": b"",
            "headers": [],
            "client": ("127.0.0.1", 5000),
        }
        await app(scope, receive_nothing, discard)
        calls += 1
        await asyncio.sleep(0.003)
    return calls


def test_each_event_is_stored_once_though_the_console_is_killed_and_restarted(
    committed_db, make_user, token_of, tmp_path
):
    token = token_of(make_user("trading-api", Role.SERVICE))
    with open(tmp_path / "console.log", "w") as log:
        console = Console(log)
        app = AuditMiddleware(
            answer_empty,
            console_url=console.url,
            token=token,
            source="trading-api",
            spool=tmp_path / "spool.jsonl",
        )

        with ThreadPoolExecutor(1) as thread:
            ordeal = thread.submit(console.die_and_return)
            calls = asyncio.run(call_while(app, lambda: not ordeal.done()))
        ordeal.result()
        # The sender may be waiting for its next attempt, which closing would not wait for.
        eventually(lambda: app.recorder.counts.delivered >= calls)
        app.recorder.close()
        console.kill()

    with connection.cursor() as cursor:
        cursor.execute(STORED)
        stored, ids, resources = cursor.fetchone()
    print(
        f"kills {KILLS}, called {calls}, stored {stored}, "
        f"missing {calls - resources}, doubled {stored - ids}"
    )
    assert (stored, ids, resources) == (calls, calls, calls)
    assert app.recorder.counts == DeliveryCounts(delivered=calls)

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path

import httpx
import pytest

from examples.demo_traffic import drive
from examples.trading_api.main import create_app
from examples.trading_api.state import USERS
from tests.audit.capture.fake_console import TOKEN, FakeConsole, eventually

# A service that the middleware runs in has no key.
pytestmark = pytest.mark.usefixtures("keyless_redaction")

ROOT = Path(__file__).parents[2]
TRADER = {"Authorization": "Bearer demo-token-1"}
OTHER_TRADER = {"Authorization": "Bearer demo-token-2"}
VIEWER = {"Authorization": "Bearer demo-token-3"}


@pytest.fixture
def console():
    with FakeConsole() as console:
        yield console


class Api:
    """Calls the app in this process."""

    def __init__(self, app):
        self.app = app

    def request(self, method, path, **options):
        return asyncio.run(self._request(method, path, **options))

    async def _request(self, method, path, **options):
        transport = httpx.ASGITransport(self.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
            return await client.request(method, path, **options)

    def get(self, path, **options):
        return self.request("GET", path, **options)

    def post(self, path, **options):
        return self.request("POST", path, **options)

    def put(self, path, **options):
        return self.request("PUT", path, **options)

    def flush(self):
        self.app.recorder.close()


@pytest.fixture
def api(console, tmp_path):
    api = Api(create_app(console_url=console.url, token=TOKEN, spool=tmp_path / "spool.jsonl"))
    yield api
    api.flush()


@pytest.fixture
def served_api(console, tmp_path):
    """The example as its README starts it: a process of its own."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = os.environ | {
        "COMPLIANCE_URL": console.url,
        "COMPLIANCE_TOKEN": TOKEN,
        "COMPLIANCE_SPOOL": str(tmp_path / "served.jsonl"),
        "PORT": str(port),
    }
    command = [sys.executable, "-m", "examples.trading_api"]
    with subprocess.Popen(command, cwd=ROOT, env=environment) as process:
        eventually(lambda: is_listening(port))
        yield f"http://127.0.0.1:{port}"
        process.terminate()
        process.wait(20)


def is_listening(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def recorded(api, console):
    api.flush()
    return [
        (event["action"], event["resource"], event["userId"], event["statusCode"])
        for event in console.events
    ]


def test_a_sign_in_is_recorded_as_request_and_as_login(api, console):
    body = {"username": "a.meyer", "password": "demo-password-1"}

    assert api.post("/login", json=body).json() == {"userId": 1, "token": "demo-token-1"}

    assert recorded(api, console) == [("LOGIN", "/login", 1, 200), ("CREATE", "/login", 1, 200)]
    assert console.events[1]["requestData"] == '{"username":"a.meyer","password":"[REDACTED]"}'
    assert console.events[0]["requestId"] == console.events[1]["requestId"]


def test_a_failed_sign_in_names_who_was_tried(api, console):
    assert api.post("/login", json={"username": "root", "password": "x"}).status_code == 401

    assert recorded(api, console) == [
        ("LOGIN_FAILED", "/login", None, 401),
        ("CREATE", "/login", None, 401),
    ]
    assert console.events[0]["actor"] == "root"


def test_a_bot_is_started_and_stopped_by_its_owner_only(api, console):
    started = api.post("/bot/start", json={"strategy": "RSI_CROSS"}, headers=TRADER)
    foreign = api.post("/bot/stop", json={"botId": 1}, headers=OTHER_TRADER)
    stopped = api.post("/bot/stop", json={"botId": 1}, headers=TRADER)
    again = api.post("/bot/stop", json={"botId": 1}, headers=TRADER)

    assert started.json() == {"botId": 1, "strategy": "RSI_CROSS", "status": "RUNNING"}
    assert [foreign.status_code, stopped.status_code, again.status_code] == [403, 200, 409]
    assert recorded(api, console) == [
        ("START", "/bot/1", 1, None),
        ("CREATE", "/bot/start", 1, 200),
        ("CREATE", "/bot/stop", 2, 403),
        ("STOP", "/bot/1", 1, None),
        ("CREATE", "/bot/stop", 1, 200),
        ("CREATE", "/bot/stop", 1, 409),
    ]


def test_preferences_are_kept_for_each_user(api):
    changed = api.put("/user/preferences", json={"theme": "dark"}, headers=TRADER)

    assert changed.json() == {"theme": "dark", "currency": "EUR", "notifications": True}
    assert api.get("/user/preferences", headers=TRADER).json() == changed.json()
    assert api.get("/user/preferences", headers=VIEWER).json()["theme"] == "light"


def test_card_data_and_passwords_do_not_leave_the_platform(api, console):
    body = {"amount": 12.5, "currency": "EUR", "cardNumber": "4111111111111111", "cvv": 123}

    assert api.post("/payments", json=body, headers=TRADER).status_code == 201
    api.flush()

    [event] = console.events
    assert json.loads(event["requestData"]) == {
        "amount": 12.5,
        "currency": "EUR",
        "cardNumber": "[REDACTED]",
        "cvv": "[REDACTED]",
    }


@pytest.mark.parametrize(
    ("method", "path", "headers", "body", "status"),
    [
        ("GET", "/dashboard/pnl", {}, None, 401),
        ("GET", "/dashboard/pnl", {"Authorization": "Bearer nobody"}, None, 401),
        ("GET", "/dashboard/pnl", VIEWER, None, 200),
        ("POST", "/logout", VIEWER, None, 204),
        ("POST", "/bot/start", VIEWER, {"strategy": "GRID"}, 403),
        ("POST", "/bot/start", TRADER, {"strategy": ["GRID"]}, 400),
        ("POST", "/bot/start", TRADER, [], 400),
        ("POST", "/bot/start", TRADER, None, 400),
        ("POST", "/bot/stop", TRADER, {"botId": {}}, 404),
        ("PUT", "/user/preferences", TRADER, {"theme": {}}, 400),
        ("PUT", "/user/preferences", TRADER, {"volume": 11}, 400),
        ("POST", "/payments", TRADER, {"amount": -1, "currency": "EUR"}, 400),
        ("POST", "/payments", TRADER, {"amount": True, "currency": "EUR"}, 400),
        ("POST", "/payments", TRADER, {"amount": 1, "currency": "XXX"}, 400),
        ("POST", "/payments", VIEWER, {"amount": 1, "currency": "EUR"}, 403),
        ("GET", "/orders/1002", TRADER, None, 200),
        ("GET", "/orders/1001", TRADER, None, 403),
        ("GET", "/orders/1", TRADER, None, 404),
        ("GET", "/nothing", TRADER, None, 404),
        ("GET", "/login", {}, None, 405),
    ],
)
def test_each_call_is_answered_and_recorded_once(api, console, method, path, headers, body, status):
    assert api.request(method, path, headers=headers, json=body).status_code == status

    requests = [
        event for event in recorded(api, console) if event[0] in ("CREATE", "READ", "UPDATE")
    ]
    assert [(resource, code) for _, resource, _, code in requests] == [(path, status)]


def test_health_is_open_and_not_recorded(api, console):
    assert api.get("/health").json() == {"status": "ok"}

    assert recorded(api, console) == []


def test_the_readme_lists_the_users_as_they_are():
    readme = (ROOT / "examples/trading_api/README.md").read_text()

    for user in USERS:
        assert (
            f"| `{user.name}` | {user.id} | `{user.demo_token}` | `{user.demo_password}`" in readme
        )


def test_the_readmes_curl_works_and_the_process_delivers_as_it_stops(served_api, console):
    readme = (ROOT / "examples/trading_api/README.md").read_text()
    [body] = re.findall(r"-d '(.*)'", readme)
    headers = TRADER | {"Content-Type": "application/json"}

    answer = httpx.post(f"{served_api}/bot/start", content=body, headers=headers)

    assert answer.status_code == 200
    eventually(lambda: len(console.events) == 2)
    started, created = console.events
    assert (started["action"], started["resource"]) == ("START", "/bot/1")
    assert created["requestData"] == '{"strategy":"RSI_CROSS","apiKey":"[REDACTED]"}'
    assert created["ipAddress"] == "127.0.0.1"


def test_demo_traffic_is_recorded_completely_and_without_secrets(served_api, console, capsys):
    summary = drive(served_api, console.url, "auditor", requests=150, seed=7)

    requests = {"CREATE", "READ", "UPDATE"}
    eventually(lambda: sum(event["action"] in requests for event in console.events) == 150)
    statuses = Counter(
        str(event["statusCode"]) for event in console.events if event["action"] in requests
    )
    assert summary.trading_answers == statuses
    assert {"200", "201", "401", "403", "404"} <= statuses.keys()
    assert {"LOGIN", "LOGIN_FAILED", "START", "STOP"} <= {e["action"] for e in console.events}
    assert sum(summary.console_answers.values()) == 6
    assert "150 requests" in capsys.readouterr().out
    for secret in ("demo-password", "Summer2025", "4111 1111", 'apiKey":"demo'):
        assert secret not in json.dumps(console.events)


def test_demo_traffic_outlives_servers_that_are_not_there():
    summary = drive("http://127.0.0.1:1", "http://127.0.0.1:1", "auditor", requests=25)

    assert (summary.trading_answers, summary.console_answers) == (
        {"unreachable": 25},
        {"unreachable": 1},
    )
    assert "unreachable 25" in str(summary)

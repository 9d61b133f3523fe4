import asyncio
import json
import uuid
from datetime import UTC, datetime

import httpx
import pytest
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from audit.capture.asgi import AuditMiddleware
from tests.audit.capture.fake_console import TOKEN, FakeConsole, eventually

# A service that the middleware runs in has no key.
pytestmark = pytest.mark.usefixtures("keyless_redaction")


async def echo(request):
    return Response(await request.body())


async def order(request):
    return JSONResponse({"order": request.path_params["order_id"]})


async def ignore_body(request):
    return Response(status_code=202)


async def boom(request):
    raise RuntimeError("the app's own trouble")


async def start_bot(request):
    request.scope["audit.recorder"].record(
        action="START",
        resource="/bot/7",
        user_id=2,
        actor="j.ortiz",
        data={"strategy": "RSI_CROSS", "apiKey": "k"},
        scope=request.scope,
    )
    return Response(background=BackgroundTask(asyncio.sleep, 0.3))


ROUTES = [
    Route("/echo", echo, methods=["POST", "PUT", "PATCH", "DELETE", "GET"]),
    Route("/orders/{order_id}", order),
    Mount("/v1", routes=[Route("/orders/{order_id}", order)]),
    Route("/ignore", ignore_body, methods=["POST"]),
    Route("/boom", boom),
    Route("/bot/start", start_bot, methods=["POST"]),
    Route("/health", ignore_body, methods=["GET", "POST"]),
    Route("/healthy", ignore_body, methods=["POST"]),
]


@pytest.fixture
def console():
    with FakeConsole() as console:
        yield console


@pytest.fixture
def make_app(console, tmp_path):
    made = []

    def make(app=None, **overrides):
        settings = {
            "console_url": console.url,
            "token": TOKEN,
            "source": "trading-api",
            "spool": tmp_path / "spool.jsonl",
        }
        app = AuditMiddleware(app or Starlette(routes=ROUTES), **settings | overrides)
        made.append(app)
        return app

    yield make
    for app in made:
        app.recorder.close()


def call(app, method, path, client=("192.168.1.100", 4711), **options):
    async def request():
        transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=client)
        async with httpx.AsyncClient(transport=transport, base_url="http://api") as session:
            return await session.request(method, path, **options)

    return asyncio.run(request())


def only_event(app, console):
    app.recorder.close()
    [event] = console.events
    return event


def request_data(app, console):
    return json.loads(only_event(app, console)["requestData"])


def test_a_request_becomes_an_event(console, make_app):
    app = make_app(identify=lambda scope: (1, "a.meyer"))
    before = datetime.now(UTC)

    call(
        app,
        "GET",
        "/orders/123?symbol=BTC&token=x",
        headers={"User-Agent": "Mozilla/5.0", "X-Request-ID": "req-12345678"},
    )

    event = only_event(app, console)
    assert uuid.UUID(event.pop("id")).version == 4
    occurred_at = event.pop("occurredAt")
    assert before <= datetime.fromisoformat(occurred_at) <= datetime.now(UTC)
    assert occurred_at.endswith("Z")
    assert len(occurred_at) == len("2025-11-09T10:30:00.000000Z")
    assert 0 <= event.pop("durationMs") < 5000
    assert event == {
        "source": "trading-api",
        "userId": 1,
        "actor": "a.meyer",
        "action": "READ",
        "resource": "/orders/123",
        "route": "/orders/{order_id}",
        "query": "symbol=BTC&token=%5BREDACTED%5D",
        "method": "GET",
        "statusCode": 200,
        "ipAddress": "192.168.1.100",
        "userAgent": "Mozilla/5.0",
        "requestData": None,
        "requestId": "req-12345678",
    }
    assert console.authorizations == {f"Token {TOKEN}"}


@pytest.mark.parametrize(
    ("method", "action"),
    [
        ("POST", "CREATE"),
        ("GET", "READ"),
        ("HEAD", "READ"),
        ("OPTIONS", "READ"),
        ("PUT", "UPDATE"),
        ("PATCH", "UPDATE"),
        ("DELETE", "DELETE"),
        ("PROPFIND", "READ"),
    ],
)
def test_the_method_names_the_action(console, make_app, method, action):
    app = make_app()

    call(app, method, "/echo")

    assert only_event(app, console)["action"] == action


@pytest.mark.parametrize(
    ("path", "route", "status"),
    [
        ("/v1/orders/7", "/v1/orders/{order_id}", 200),
        ("/v1/nothing", "/v1", 404),
        ("/nothing", None, 404),
        ("/ignore", "/ignore", 405),
    ],
)
def test_the_route_is_the_template_where_there_is_one(console, make_app, path, route, status):
    app = make_app()

    call(app, "GET", path)

    event = only_event(app, console)
    assert (event["resource"], event["route"], event["statusCode"]) == (path, route, status)


def test_the_app_reads_its_body_undisturbed(console, make_app):
    app = make_app()
    body = bytes(range(256)) * 2000

    async def chunks():
        for start in range(0, len(body), 10_000):
            yield body[start : start + 10_000]

    response = call(app, "POST", "/echo", content=chunks())

    assert response.content == body
    assert request_data(app, console) == {"_truncated": True, "_bytes": len(body)}


@pytest.mark.parametrize(
    ("content", "content_type", "recorded"),
    [
        (b'{"a":1,"apiKey":"x"}', "application/json", {"a": 1, "apiKey": "[REDACTED]"}),
        (b'{"pin":1}', "application/vnd.api+json; charset=utf-8", {"pin": "[REDACTED]"}),
        ('{"pin":"ü"}'.encode("utf-16"), "application/json", {"pin": "[REDACTED]"}),
        (
            b"user=a&password=b&tag=1&tag=2&empty=",
            "application/x-www-form-urlencoded",
            {"user": "a", "password": "[REDACTED]", "tag": ["1", "2"], "empty": ""},
        ),
        # curl -d without a content type of its own.
        (b'{"pin":1}', "application/x-www-form-urlencoded", {"pin": "[REDACTED]"}),
        (b'{"pin":1}', "text/plain", {"pin": "[REDACTED]"}),
        (b'{"pin":1,}', "application/json", {"_unreadable": True, "_bytes": 10}),
        (b'{"pin":1,}', "", {"_unreadable": True, "_bytes": 10}),
        (b"\xff\xfe\xfd", "application/json", {"_unreadable": True, "_bytes": 3}),
        (b"[" * 16_000, "application/json", {"_unreadable": True, "_bytes": 16_000}),
        (b"&a=1" * 2000, "application/x-www-form-urlencoded", {"_unreadable": True, "_bytes": 8000}),
        (b"--x", "multipart/form-data; boundary=x", {"_contentType": "multipart/form-data", "_bytes": 3}),
        (b"x" * 20_000, "application/json", {"_truncated": True, "_bytes": 20_000}),
    ],
)  # fmt: skip
def test_bodies_are_recorded_redacted_or_described(
    console, make_app, content, content_type, recorded
):
    app = make_app()

    response = call(app, "POST", "/echo", content=content, headers={"Content-Type": content_type})

    assert response.content == content
    assert request_data(app, console) == recorded


def test_a_body_that_the_app_did_not_read_is_not_recorded(console, make_app):
    app = make_app()

    call(app, "POST", "/ignore", json={"a": 1})

    assert only_event(app, console)["requestData"] is None


def test_an_app_that_raises_is_recorded_as_500_and_still_raises(console, make_app):
    async def raising(scope, receive, send):
        raise RuntimeError("the app's own trouble")

    app = make_app(raising)

    with pytest.raises(RuntimeError, match="own trouble"):
        asyncio.run(app({"type": "http", "path": "/x", "method": "GET", "headers": []}, None, None))

    assert only_event(app, console)["statusCode"] == 500


def test_an_error_page_of_the_framework_is_recorded_as_500(console, make_app):
    app = make_app()

    assert call(app, "GET", "/boom").status_code == 500

    assert only_event(app, console)["statusCode"] == 500


def test_a_client_that_left_is_recorded_as_499(console, make_app):
    async def hanging(scope, receive, send):
        await asyncio.Event().wait()

    async def leave():
        scope = {"type": "http", "path": "/x", "method": "GET", "headers": []}
        async with asyncio.timeout(0.01):
            await app(scope, None, None)

    app = make_app(hanging)
    with pytest.raises(TimeoutError):
        asyncio.run(leave())

    assert only_event(app, console)["statusCode"] == 499


def test_the_request_id_is_answered_and_an_insane_one_replaced(console, make_app):
    app = make_app()

    kept = call(app, "GET", "/orders/1", headers={"X-Request-ID": "abc-12345"})
    replaced = call(app, "GET", "/orders/1", headers={"X-Request-ID": "no spaces!"})

    app.recorder.close()
    assert kept.headers["x-request-id"] == "abc-12345"
    assert uuid.UUID(replaced.headers["x-request-id"])
    assert [event["requestId"] for event in console.events] == [
        "abc-12345",
        replaced.headers["x-request-id"],
    ]


@pytest.mark.parametrize(
    ("client", "address"),
    [
        (("::1", 1), "::1"),
        (("fe80::1%eth0", 1), "fe80::1"),
        (("testclient", 1), None),
        (None, None),
    ],
)
def test_the_address_is_the_peer_when_it_has_one(console, make_app, client, address):
    app = make_app()

    call(app, "GET", "/orders/1", client=client)

    assert only_event(app, console)["ipAddress"] == address


def test_excluded_paths_are_not_recorded(console, make_app):
    app = make_app()

    for path in ("/health", "/health/live", "/metrics"):
        call(app, "GET", path)
    call(app, "POST", "/healthy")

    assert only_event(app, console)["resource"] == "/healthy"


def test_an_identify_that_fails_costs_the_user_and_nothing_else(console, make_app, caplog):
    app = make_app(identify=lambda scope: scope["hunter2"])

    assert call(app, "GET", "/orders/1").status_code == 200

    event = only_event(app, console)
    assert (event["userId"], event["actor"]) == (None, None)
    assert "`identify` failed: KeyError" in caplog.text
    assert "hunter2" not in caplog.text


def test_handlers_record_events_of_their_own(console, make_app):
    app = make_app()

    response = call(app, "POST", "/bot/start", headers={"User-Agent": "curl"})

    app.recorder.close()
    event, request = console.events
    assert request["action"] == "CREATE"
    assert request["durationMs"] < 250, "background tasks are not the answer's time"
    del event["id"], event["occurredAt"]
    assert event == {
        "source": "trading-api",
        "action": "START",
        "resource": "/bot/7",
        "userId": 2,
        "actor": "j.ortiz",
        "statusCode": None,
        "method": "POST",
        "ipAddress": "192.168.1.100",
        "userAgent": "curl",
        "requestId": response.headers["x-request-id"],
        "requestData": '{"strategy":"RSI_CROSS","apiKey":"[REDACTED]"}',
    }


def test_recording_never_raises_and_keeps_fields_storable(console, make_app, caplog):
    class Hostile:
        def __str__(self):
            raise RuntimeError("hunter2")

    app = make_app()
    app.recorder.record(action="START", resource="/a\x00\ud800" + "x" * 9000)
    app.recorder.record(action="START", resource="/b", data=Hostile())
    app.recorder.record(action="START", resource="/c", data=["x" * 100_000])

    app.recorder.close()
    first, last = console.events
    assert first["resource"] == "/a\ufffd\ufffd" + "x" * 1996
    assert json.loads(last["requestData"]) == {"_truncated": True, "_bytes": 100_004}
    assert "An audit event was lost: RuntimeError." in caplog.text
    assert "hunter2" not in caplog.text


def test_other_scopes_pass_through(console, make_app):
    seen = []

    async def app(scope, receive, send):
        seen.append((scope, receive, send))

    asyncio.run(make_app(app)({"type": "websocket", "path": "/"}, 1, 2))

    assert seen == [({"type": "websocket", "path": "/"}, 1, 2)]
    assert console.events == []


def test_the_shutdown_of_the_server_flushes(console, make_app):
    app = make_app()
    messages = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])
    delivered_at = {}

    async def receive():
        message = next(messages)
        if message["type"] == "lifespan.shutdown":
            app.recorder.record(action="STOP", resource="/late")
        return message

    async def send(message):
        delivered_at[message["type"]] = len(console.events)

    asyncio.run(app({"type": "lifespan"}, receive, send))

    assert delivered_at == {"lifespan.startup.complete": 0, "lifespan.shutdown.complete": 1}


def test_a_dead_console_does_not_slow_the_answer(console, make_app):
    console.open.clear()
    app = make_app()
    call(app, "GET", "/orders/0")
    eventually(lambda: app.recorder._outbox._in_flight)

    durations = [call(app, "GET", f"/orders/{n}").elapsed.total_seconds() for n in range(50)]

    # The console hangs for as long as the test likes; none of that reaches the answers.
    assert sorted(durations)[25] < 0.5
    console.open.set()
    app.recorder.close()
    assert len(console.events) == 51


def test_the_token_is_never_shown(console, make_app, caplog):
    caplog.set_level("DEBUG")
    console.status = 401
    app = make_app()
    call(app, "GET", "/orders/1")
    eventually(lambda: "status 401" in caplog.text)
    app.recorder.close()

    shown = [repr(app), repr(app.recorder), repr(app.recorder._outbox)]
    shown += [repr(app.recorder._outbox._client), caplog.text]
    assert TOKEN not in "".join(shown)


@pytest.mark.parametrize("token", ["", "line\nbreak", "with space", "ümlaut"])
def test_a_token_that_could_leak_in_an_error_is_refused(make_app, token):
    with pytest.raises(ValueError, match="visible ASCII") as refusal:
        make_app(token=token)

    assert not token or token not in str(refusal.value)


@pytest.mark.parametrize("url", ["", "console:8000", "ftp://console", "http://user:pw@console"])
def test_a_console_url_that_cannot_work_is_refused(make_app, url):
    with pytest.raises(ValueError, match="console_url"):
        make_app(console_url=url)

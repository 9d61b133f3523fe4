import asyncio
import json

import pytest
from asgiref.sync import async_to_sync
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from django.test import AsyncClient, Client, RequestFactory

from audit.capture import body_copy
from audit.models import AuditLog, Intent

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.audit.capture.views")]


@pytest.fixture(autouse=True)
def whole_answers(settings):
    settings.AUDIT_LOG_LEVEL = "request_response"


@pytest.fixture
def client():
    return Client(raise_request_exception=False)


@pytest.fixture
def kept_connection():
    """What the test client does too: the end of a request would close the test's transaction."""
    request_started.disconnect(close_old_connections)
    request_finished.disconnect(close_old_connections)
    yield
    request_started.connect(close_old_connections)
    request_finished.connect(close_old_connections)


def the_entry():
    return AuditLog.objects.get(method__in=["GET", "POST", "HEAD"])


def kept_without_password():
    assert "hunter2" not in the_entry().response_data
    kept = json.loads(the_entry().response_data)
    del kept["password"]
    return kept


def details():
    return json.loads(the_entry().details)


def test_a_json_answer_is_kept_redacted(client):
    answer = client.get("/json-answer")

    assert answer.json()["password"] == "hunter2"
    assert kept_without_password() == {"order": 7, "note": "ü"}
    assert the_entry().response_bytes == len(answer.content)


def test_an_answer_that_is_not_json_is_described(client):
    client.get("/page")

    assert json.loads(the_entry().response_data) == {"_contentType": "text/html", "_bytes": 14}


def test_an_answer_above_the_bound_is_only_measured(client, settings):
    settings.AUDIT_BODY_LIMIT = 10

    client.get("/json-answer")

    length = the_entry().response_bytes
    assert json.loads(the_entry().response_data) == {"_truncated": True, "_bytes": length}


def test_an_answer_to_head_has_no_body(client):
    client.head("/json-answer")

    assert (the_entry().response_data, the_entry().response_bytes) == ("", 0)


def test_a_stream_is_recorded_at_its_end_after_an_intent_at_its_start(client):
    answer = client.get("/stream")

    assert not AuditLog.objects.exists()
    (intent,) = Intent.objects.all()
    assert (intent.method, intent.resource, intent.route) == ("GET", "/stream", "/stream")
    assert answer.getvalue() == b"ab"
    assert (the_entry().event_id, the_entry().response_bytes) == (intent.event_id, 2)
    assert details() == {"stream": "completed"}


def test_a_streamed_body_is_kept_redacted(client):
    client.get("/stream/json").getvalue()

    assert kept_without_password() == {"order": 7}


def test_a_stream_that_fails_says_so_by_the_class_of_its_exception(client):
    with pytest.raises(LookupError):
        client.get("/stream/fail").getvalue()

    assert the_entry().response_bytes == len(b'{"order": 7')
    assert details() == {"stream": "failed", "exception": "LookupError"}


def test_a_stream_that_is_closed_early_was_abandoned(kept_connection):
    answer = served("/stream")
    next(iter(answer))

    answer.close()
    answer.close()

    assert the_entry().response_bytes == 1
    assert details() == {"stream": "abandoned"}


def test_a_file_is_watched_to_its_end(client):
    assert len(client.get("/file").getvalue()) == 10_000

    assert the_entry().response_bytes == 10_000
    assert details() == {"stream": "completed"}


def test_a_file_that_a_server_closes_after_the_last_byte_is_whole(kept_connection):
    answer = served("/file")
    chunks = iter(answer)
    assert sum(len(next(chunks)) for _ in range(3)) == 10_000

    answer.close()

    assert details() == {"stream": "completed"}


def test_a_server_that_sends_files_itself_does_not_send_them_past_the_log(kept_connection):
    answer = served("/file", {"wsgi.file_wrapper": refuse})

    assert len(b"".join(answer)) == 10_000
    answer.close()
    assert the_entry().response_bytes == 10_000


def served(path, environ=()):
    """Return what a WSGI server gets, which the test client would wrap."""
    request = RequestFactory().get(path)
    return WSGIHandler()(request.environ | dict(environ), lambda status, headers: None)


def refuse(*args):
    pytest.fail("the file went to the server")


def test_what_is_recorded_inside_a_stream_belongs_to_the_request(client):
    client.get("/stream/record", headers={"X-Request-ID": "request-1234"}).getvalue()

    start = AuditLog.objects.get(action="START")
    assert (start.request_id, start.actor_type) == ("request-1234", "anonymous")


@pytest.fixture(params=["as the console", "wholly asynchronous"])
def chain(request, settings):
    """One middleware that is only synchronous makes all outside it synchronous."""
    if request.param == "wholly asynchronous":
        settings.MIDDLEWARE = ["audit.capture.middleware.AuditMiddleware"]


def test_an_asynchronous_stream_is_recorded_at_its_end(chain):
    async def get():
        answer = await AsyncClient().get("/stream/async")
        return [chunk async for chunk in answer.streaming_content]

    assert async_to_sync(get)() == [b"a", b"b", b"c"]

    assert the_entry().event_id == Intent.objects.get().event_id
    assert (the_entry().response_bytes, details()) == (3, {"stream": "completed"})


def test_an_asynchronous_stream_that_fails_says_so(chain):
    async def get():
        answer = await AsyncClient().get("/stream/async/fail")
        return [chunk async for chunk in answer.streaming_content]

    with pytest.raises(LookupError):
        async_to_sync(get)()

    assert details() == {"stream": "failed", "exception": "LookupError"}


def test_an_asynchronous_stream_whose_client_leaves_was_abandoned(kept_connection, chain):
    asked = 0

    async def serve():
        sent = asyncio.Event()

        async def receive():
            nonlocal asked
            asked += 1
            if asked == 1:
                return {"type": "http.request", "body": b""}
            await sent.wait()
            return {"type": "http.disconnect"}

        async def send(message):
            if message.get("body"):
                sent.set()
                await asyncio.sleep(30)

        await ASGIHandler()(scope_of("/stream/async"), receive, send)

    async_to_sync(serve)()

    assert (the_entry().response_bytes, details()) == (1, {"stream": "abandoned"})


def test_an_asynchronous_view_that_is_cancelled_leaves_an_entry(kept_connection, chain):
    async def serve():
        requests = iter([{"type": "http.request", "body": b""}, {"type": "http.disconnect"}])

        async def receive():
            await asyncio.sleep(0.5)  # long enough for the view to begin
            return next(requests)

        async def send(message):
            pytest.fail("nobody is there")

        await ASGIHandler()(scope_of("/async/slow"), receive, send)

    async_to_sync(serve)()

    assert (the_entry().status_code, details()) == (None, {"outcome": "cancelled"})


def scope_of(path):
    return {
        "type": "http",
        "method": "GET",
        "path": path,
        "headers": [(b"host", b"testserver")],
        "query_string": b"",
        "server": ("testserver", 80),
        "client": ("127.0.0.1", 1),
    }


@pytest.mark.parametrize("broken", ["add", "as_request_data"])
def test_a_fault_of_capturing_breaks_no_view_and_is_told(client, monkeypatch, broken):
    def fail(*args):
        raise RuntimeError("a fault of the log")

    monkeypatch.setattr(body_copy.BodyCopy, broken, fail)

    answer = client.post("/echo", {"a": 1}, content_type="application/json")

    assert answer.json() == {"read": 8}
    assert json.loads(the_entry().request_data) == {"_captureFailed": True}
    assert json.loads(the_entry().response_data) == {"_captureFailed": True}


def test_a_fault_at_the_end_of_a_stream_leaves_its_intent(client, monkeypatch):
    monkeypatch.setattr("audit.capture.requests.body_text", lambda *args: 1 / 0)

    assert client.get("/stream").getvalue() == b"ab"

    assert Intent.objects.count() == 1
    assert not AuditLog.objects.exists()


def test_a_kept_body_stays_json_when_redaction_makes_it_longer_than_an_entry_holds(settings):
    body = json.dumps({f"k{number}": {"pin": 1} for number in range(800)})
    assert len(body) < settings.AUDIT_BODY_LIMIT

    Client().post("/echo", body, content_type="application/json")

    assert json.loads(the_entry().request_data) == {"_truncated": True, "_bytes": len(body)}

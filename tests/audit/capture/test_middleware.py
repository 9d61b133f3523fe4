import json
import re

import pytest
from asgiref.sync import async_to_sync
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import AsyncClient, Client

from audit.models import AuditLog
from tests.redaction import tag

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.audit.capture.views")]


@pytest.fixture
def client():
    return Client(raise_request_exception=False)


def the_entry():
    return AuditLog.objects.get()


def test_a_request_is_recorded_with_what_the_document_names(client, make_user):
    user = make_user("alice", "auditor")
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")

    client.post(
        "/orders/7?limit=5&apiKey=sk_live_1",
        {"strategy": "RSI_CROSS"},
        content_type="application/json",
        headers={"User-Agent": "curl/8", "X-Request-ID": "request-1234"},
        REMOTE_ADDR="203.0.113.9",
    )

    log = AuditLog.objects.get(resource="/orders/7")
    assert (log.actor_type, log.user_id, log.actor) == ("user", user.pk, "alice")
    assert (log.action, log.method, log.status_code) == ("CREATE", "POST", 200)
    assert (log.route, log.query) == (
        "/orders/<int:order_id>",
        f"limit=5&apiKey={tag('sk_live_1')}",
    )
    assert (log.ip_address, log.user_agent) == ("203.0.113.9", "curl/8")
    assert (log.request_id, log.source) == ("request-1234", "console")
    assert log.duration_ms >= 0


@pytest.mark.parametrize(
    ("method", "action"),
    [
        ("GET", "READ"),
        ("HEAD", "READ"),
        ("OPTIONS", "READ"),
        ("POST", "CREATE"),
        ("PUT", "UPDATE"),
        ("PATCH", "UPDATE"),
        ("DELETE", "DELETE"),
        ("PURGE", "READ"),
    ],
)
def test_the_method_names_the_action(client, method, action):
    client.generic(method, "/nothing")

    assert (the_entry().method, the_entry().action) == (method, action)


def test_the_request_id_is_made_when_none_or_a_bad_one_is_offered(client):
    for offered in ({}, {"X-Request-ID": "x"}, {"X-Request-ID": "new\tline" * 9}):
        answer = client.get("/nothing", headers=offered)
        assert re.fullmatch("[0-9a-f]{32}", answer.headers["X-Request-ID"])


def test_a_json_body_that_the_view_read_is_kept_redacted(client):
    client.post("/echo", {"note": "ü", "password": "hunter2"}, content_type="application/json")

    assert json.loads(the_entry().request_data) == {"note": "ü", "password": tag("hunter2")}


def test_a_body_parsed_by_the_rest_framework_is_kept(client):
    answer = client.post("/json", {"a": [1, {"token": "x"}]}, content_type="application/json")

    assert answer.json() == {"a": [1, {"token": "x"}]}
    assert json.loads(the_entry().request_data) == {"a": [1, {"token": tag("x")}]}


def test_a_form_is_kept_redacted(client):
    client.post(
        "/form", "name=bot&pair=a&pair=b&otp=1234", content_type="application/x-www-form-urlencoded"
    )

    assert json.loads(the_entry().request_data) == {
        "name": "bot",
        "pair": ["a", "b"],
        "otp": tag("1234"),
    }


def test_an_upload_reaches_the_view_and_is_described(client):
    upload = SimpleUploadedFile("trades.csv", b"x" * 100_000, "text/csv")

    answer = client.post("/form", {"name": "bot", "cvv": "123", "file": upload})

    assert answer.json() == {"post": {"name": ["bot"], "cvv": ["123"]}, "files": ["file"]}
    assert json.loads(the_entry().request_data) == {
        "name": "bot",
        "cvv": tag("123"),
        "file": {"name": "trades.csv", "size": 100_000, "contentType": "text/csv"},
    }


def test_a_body_above_the_bound_reaches_the_view_and_is_only_measured(client, settings):
    settings.AUDIT_BODY_LIMIT = 100

    answer = client.post("/pieces", b'"' + b"x" * 5000 + b'"', content_type="application/json")

    assert answer.json() == {"read": 5002}
    assert json.loads(the_entry().request_data) == {"_truncated": True, "_bytes": 5002}


@pytest.mark.parametrize(
    ("body", "content_type", "note"),
    [
        (b"\x00\x01", "application/octet-stream", {"_contentType": "application/octet-stream"}),
        (b"{broken", "application/json", {"_unreadable": True}),
    ],
)
def test_a_body_that_cannot_be_read_is_described(client, body, content_type, note):
    client.post("/echo", body, content_type=content_type)

    assert json.loads(the_entry().request_data) == note | {"_bytes": len(body)}


def test_json_that_is_sent_as_a_form_is_redacted_as_json(client):
    body = '{"password":"hun=ter&2x"}'

    client.post("/echo", body, content_type="application/x-www-form-urlencoded")

    assert json.loads(the_entry().request_data) == {"password": tag("hun=ter&2x")}


def test_a_body_that_no_view_read_is_not_read_for_the_log(client):
    client.post("/nothing", {"a": 1}, content_type="application/json")

    assert the_entry().request_data == ""


def test_a_failing_view_is_recorded_by_the_class_of_its_exception(client):
    answer = client.get("/fail")

    assert answer.status_code == 500
    assert the_entry().status_code == 500
    assert json.loads(the_entry().details) == {"exception": "LookupError"}


def test_an_unknown_address_and_hostile_bytes_are_recorded(client):
    answer = client.get("/nope/%00/%ED%A0%BD/%FF", headers={"User-Agent": "a\x00b"})

    assert answer.status_code == 404
    assert "\0" not in the_entry().resource + the_entry().user_agent


def test_long_texts_are_cut_to_a_bound(client):
    client.get("/" + "x" * 5000, headers={"User-Agent": "y" * 5000})

    assert (len(the_entry().resource), len(the_entry().user_agent)) == (2000, 1000)


def test_a_streamed_answer_is_recorded_and_streams(client):
    assert client.get("/stream").getvalue() == b"ab"
    assert (the_entry().status_code, the_entry().response_bytes) == (200, 2)


def test_events_recorded_inside_share_the_request_and_are_redacted(client):
    client.get("/record", headers={"X-Request-ID": "request-1234"})

    start, stop, request = AuditLog.objects.order_by("id")
    assert {start.request_id, stop.request_id, request.request_id} == {"request-1234"}
    assert (start.action, stop.action, request.action) == ("START", "STOP", "READ")
    assert json.loads(stop.details) == {"apiKey": tag("sk_live_1"), "reason": "night"}


def test_declared_exclusions_are_not_recorded_and_nothing_else_is_left_out(client):
    client.get("/health")
    client.get("/healthy")

    assert the_entry().resource == "/healthy"


def test_the_asynchronous_chain_records_as_well():
    get = async_to_sync(AsyncClient().get)

    answer = get("/async", headers={"X-Request-ID": "request-1234"})

    assert answer.json() == {"user": "AnonymousUser"}
    log = the_entry()
    assert (log.resource, log.actor_type, log.request_id) == ("/async", "anonymous", "request-1234")


def test_the_asynchronous_chain_keeps_the_body():
    post = async_to_sync(AsyncClient().post)

    post("/echo", {"a": 1, "pin": 2}, content_type="application/json")

    assert json.loads(the_entry().request_data) == {"a": 1, "pin": tag("2")}

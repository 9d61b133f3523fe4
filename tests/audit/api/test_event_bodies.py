"""The forms in which events may arrive: gzip, one a line, too large, too many."""

import gzip
import json
import tracemalloc
import zlib

import pytest
from redis import Redis

from audit.capture import ingest_rate
from audit.models import AuditLog
from compliance_site.foundation.api.parsers import LARGEST_BODY, BodyTooLarge, inflated
from compliance_site.foundation.roles import Role

pytestmark = pytest.mark.django_db

NDJSON = "application/x-ndjson"


def event(number, **overrides):
    return {"id": f"e-{number}", "action": "START", "resource": f"/bot/{number}"} | overrides


def send(client, body, content_type="application/json", encoding=None):
    headers = {"Content-Encoding": encoding} if encoding else {}
    return client.post("/audit/events", body, content_type=content_type, headers=headers)


def stored():
    logs = AuditLog.objects.filter(source="trading-api").order_by("id")
    return list(logs.values_list("event_id", flat=True))


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "x-gzip"])
def test_a_gzip_body_is_inflated(service, encoding):
    body = gzip.compress(json.dumps({"events": [event(1), event(2)]}).encode())

    answer = send(service, body, encoding=encoding)

    assert answer.json() == {"accepted": 2, "duplicates": 0, "rejected": []}
    assert stored() == ["e-1", "e-2"]


@pytest.mark.parametrize(
    ("body", "encoding", "status"),
    [
        (b"{}", "br", 415),
        (b"{}", "gzip, gzip", 415),
        (b"{}", "gzip", 400),
        (b"", "gzip", 400),
        (gzip.compress(b"{}")[:-1], "gzip", 400),
        (gzip.compress(b"{}") * 2, "gzip", 400),
        (gzip.compress(b"{}") + b"rest", "gzip", 400),
        (zlib.compress(b"{}"), "gzip", 400),
        (gzip.compress(b" " * (LARGEST_BODY + 1)), "gzip", 413),
        (b"x" * (LARGEST_BODY + 1), "gzip", 413),
    ],
    ids=[
        "brotli",
        "twice",
        "plain",
        "empty",
        "cut off",
        "two members",
        "more behind it",
        "zlib",
        "too large inflated",
        "too large",
    ],
)
def test_a_body_that_cannot_be_inflated_is_refused(service, body, encoding, status):
    answer = send(service, body, encoding=encoding)

    assert answer.status_code == status, answer.content
    assert set(answer.json()["error"]) == {"code", "message", "fields"}
    assert stored() == []


def test_a_gzip_bomb_is_not_inflated_beyond_the_bound():
    bomb = gzip.compress(bytes(500 * 1024 * 1024), 1)

    tracemalloc.start()
    with pytest.raises(BodyTooLarge):
        inflated(bomb)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 4 * LARGEST_BODY


def test_events_may_come_one_a_line_and_a_broken_line_is_named(service):
    lines = [
        json.dumps(event(0)).encode(),
        b'{"id": "e-1", "action"',
        json.dumps(event(2)).encode() + b"\r",
        b"\xff\xfe{}",
        b'{"resource": NaN}',
        b"[" * 100_000,
        json.dumps(event(6)).encode(),
        b"",
        b"  ",
        b"7",
    ]

    answer = send(service, b"\n".join(lines), NDJSON)

    body = answer.json()
    assert answer.status_code == 201
    assert (body["accepted"], body["duplicates"]) == (3, 0)
    assert [bad["index"] for bad in body["rejected"]] == [1, 3, 4, 5, 7]
    assert body["rejected"][0]["error"].startswith("This is not JSON: ")
    assert body["rejected"][3]["error"] == "The JSON is nested too deeply."
    assert stored() == ["e-0", "e-2", "e-6"]


def test_a_single_line_is_a_batch_too(service):
    answer = send(service, b"{}\n", NDJSON)

    assert answer.status_code == 201
    assert [bad["index"] for bad in answer.json()["rejected"]] == [0]


def test_lines_may_be_compressed(service):
    text = "\n".join(json.dumps(event(number)) for number in range(5000))

    answer = send(service, gzip.compress(text.encode()), NDJSON, "gzip")

    assert answer.json()["accepted"] == 5000


@pytest.mark.parametrize("count", [0, 5001])
def test_lines_are_one_to_five_thousand(service, count):
    answer = send(service, b"\n" + b"{}\n" * count, NDJSON)

    assert answer.status_code == 400
    assert list(answer.json()["error"]["fields"]) == ["events"]


def test_another_type_of_body_is_refused(service):
    answer = send(service, b"a=1", "application/x-www-form-urlencoded")

    assert answer.status_code == 415
    assert answer.json()["error"]["code"] == "unsupported_media_type"


@pytest.fixture
def redis(settings):
    """The counter's Redis, and no counts of other tests."""
    client = Redis.from_url(settings.REDIS_URL)
    for key in client.scan_iter("audit:ingest:*"):
        client.delete(key)
    with client:
        yield client


def test_too_many_events_in_a_minute_are_a_429_that_says_when(
    service, settings, redis, time_machine
):
    settings.AUDIT_INGEST_EVENTS_PER_MINUTE = 3
    time_machine.move_to("2025-11-09T10:30:42Z", tick=False)
    assert send(service, json.dumps(event(1))).status_code == 201

    refused = send(service, json.dumps({"events": [event(2), event(3), event(4)]}))

    assert refused.status_code == 429
    assert refused.headers["Retry-After"] == "18"
    assert refused.json()["error"]["code"] == "throttled"
    # The refused ones did not count.
    assert send(service, json.dumps({"events": [event(2), event(3)]})).status_code == 201
    assert send(service, json.dumps(event(5))).status_code == 429
    time_machine.move_to("2025-11-09T10:31:00Z", tick=False)
    assert send(service, json.dumps(event(5))).status_code == 201


def test_each_account_has_its_own_allowance_over_all_its_tokens(service, api_as, settings, redis):
    settings.AUDIT_INGEST_EVENTS_PER_MINUTE = 1
    other = api_as(Role.SERVICE, "payments-api")

    answers = [send(client, json.dumps(event(1))).status_code for client in (service, other)]

    assert answers == [201, 201]
    assert redis.keys("audit:ingest:trading-api:*")
    assert 0 < redis.ttl(redis.keys("audit:ingest:*")[0]) <= 120


def test_without_redis_ingest_goes_on_and_the_log_says_so(service, settings, monkeypatch, caplog):
    settings.AUDIT_INGEST_EVENTS_PER_MINUTE = 1
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    monkeypatch.setattr(ingest_rate, "_paused_until", 0.0)

    answer = send(service, json.dumps({"events": [event(1), event(2)]}))

    assert answer.json()["accepted"] == 2
    assert "Redis is away, ingest goes on uncounted: ConnectionError." in caplog.text

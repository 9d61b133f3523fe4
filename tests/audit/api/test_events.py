import json
from datetime import datetime

import pytest

from audit.capture import redaction
from audit.capture.redaction import Redactor, Tagger
from audit.models import AuditLog
from compliance_site.foundation.roles import Role
from tests.conftest import NOW
from tests.redaction import tag

pytestmark = pytest.mark.django_db

EVENT = {
    "id": "e-1",
    "source": "trading-api",
    "occurredAt": "2025-11-09T10:29:59.5Z",
    "userId": 7,
    "actor": "j.ortiz",
    "action": "CREATE",
    "resource": "/bot/start",
    "method": "POST",
    "statusCode": 200,
    "ipAddress": "192.168.1.100",
    "userAgent": "Mozilla/5.0",
    "requestData": {"strategy": "RSI_CROSS", "apiKey": "sk_live_1"},
    "requestId": "req-12345678",
    "durationMs": 18,
}


def post(client, body):
    return client.post("/audit/events", body, format="json")


def stored(**filters):
    return AuditLog.objects.exclude(resource="/audit/events").filter(**filters)


def test_one_event_is_recorded_with_all_its_fields(service):
    answer = post(service, EVENT)

    assert answer.status_code == 201
    assert answer.json() == {"accepted": 1, "duplicates": 0, "rejected": []}
    log = stored().get()
    assert (log.source, log.event_id, log.user_id, log.actor) == (
        "trading-api",
        "e-1",
        7,
        "j.ortiz",
    )
    assert (log.action, log.method, log.resource, log.status_code) == (
        "CREATE",
        "POST",
        "/bot/start",
        200,
    )
    assert (log.ip_address, log.user_agent, log.duration_ms) == ("192.168.1.100", "Mozilla/5.0", 18)
    assert (log.actor_type, log.request_id) == ("user", "req-12345678")
    assert log.occurred_at.isoformat() == "2025-11-09T10:29:59.500000+00:00"
    assert json.loads(log.request_data) == {"strategy": "RSI_CROSS", "apiKey": tag("sk_live_1")}


def test_sending_again_counts_as_duplicate(service):
    post(service, EVENT)

    answer = post(service, {"events": [EVENT, EVENT, EVENT | {"id": "e-2"}]})

    assert answer.json() == {"accepted": 1, "duplicates": 2, "rejected": []}
    assert stored().count() == 2


def test_the_same_id_with_another_body_is_a_conflict(service):
    post(service, EVENT)

    single = post(service, EVENT | {"statusCode": 500})
    batch = post(service, {"events": [EVENT | {"statusCode": 500}, EVENT | {"id": "e-2"}]})

    assert (single.status_code, single.json()["error"]["code"]) == (409, "conflict")
    assert batch.json() == {
        "accepted": 1,
        "duplicates": 0,
        "rejected": [
            {
                "index": 0,
                "id": "e-1",
                "error": "This source already used this id for another event.",
            }
        ],
    }
    assert stored(event_id="e-1").get().status_code == 200


def test_a_body_is_remembered_under_the_keys_of_redaction_only(service):
    installed = redaction.installed()
    newer = Tagger(b"newer", version=2, retired={1: installed.tagger.key})
    post(service, EVENT)

    try:
        redaction.install(Redactor(newer))
        after_rotation = post(service, EVENT)
        redaction.install(Redactor(Tagger(b"stranger")))
        without_the_key = post(service, EVENT)
    finally:
        redaction.install(installed)

    assert after_rotation.json()["duplicates"] == 1
    assert without_the_key.status_code == 409


def test_bad_events_of_a_batch_are_named_and_the_others_accepted(service):
    answer = post(
        service,
        {
            "events": [
                EVENT,
                {"id": "bad-1", "resource": "/x"},
                "no object",
                EVENT | {"id": "bad-2", "statusCode": 7, "ipAddress": "here"},
                EVENT | {"id": "bad-3", "colour": "red"},
                {"action": "START", "resource": "/bot/7"},
            ]
        },
    )

    assert answer.status_code == 201
    body = answer.json()
    assert (body["accepted"], body["duplicates"]) == (2, 0)
    assert [(bad["index"], bad["id"]) for bad in body["rejected"]] == [
        (1, "bad-1"),
        (2, None),
        (3, "bad-2"),
        (4, "bad-3"),
    ]
    assert body["rejected"][0]["error"] == "action: Give an action or an HTTP method."
    assert "statusCode: " in body["rejected"][2]["error"]
    assert "ipAddress: " in body["rejected"][2]["error"]


def test_what_is_quoted_of_a_bad_event_can_be_encoded(service):
    lone = "\ud800"
    bad = [EVENT | {"id": lone}, EVENT | {lone: 1}, EVENT | {"actorType": lone}]

    def post_escaped(body):
        return service.post("/audit/events", json.dumps(body), content_type="application/json")

    answer = post_escaped({"events": [EVENT, *bad]})

    assert answer.status_code == 201
    body = answer.json()
    assert (body["accepted"], len(body["rejected"])) == (1, 3)
    assert body["rejected"][0]["id"] == "\ufffd"
    assert [post_escaped(event).status_code for event in bad] == [400, 400, 400]


def test_a_minimal_event_gets_what_it_lacks(service):
    post(service, {"method": "put", "resource": "/user/preferences"})

    log = stored().get()
    assert (log.action, log.method, log.source) == ("UPDATE", "PUT", "trading-api")
    assert (log.actor_type, log.user_id, len(log.event_id)) == ("anonymous", None, 32)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"resource": "/x"}, "action"),
        ({"action": "create", "resource": "/x"}, "action"),
        ({"action": "CREATE"}, "resource"),
        (EVENT | {"userId": 0}, "userId"),
        (EVENT | {"userId": 2**63}, "userId"),
        (EVENT | {"id": "a" * 201}, "id"),
        (EVENT | {"id": "nul\0"}, "id"),
        (EVENT | {"occurredAt": "soon"}, "occurredAt"),
        (EVENT | {"durationMs": -1}, "durationMs"),
        (EVENT | {"source": "console"}, "source"),
        ({"events": []}, "events"),
        ({"events": [EVENT], "more": 1}, "events"),
        ({"events": [{}] * 5001}, "events"),
        ({"events": "all"}, "events"),
    ],
)
def test_a_bad_body_is_refused_by_the_name_of_the_field(service, body, field):
    answer = post(service, body)

    assert answer.status_code == 400, answer.content
    assert field in answer.json()["error"]["fields"]
    assert not stored().exists()


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"\xff\xfe", 400),
        (b'{"action": NaN}', 400),
        (b"[" * 100_000, 400),
        (b"1" * 5000, 400),
        (b'"' + b"x" * (10 * 1024 * 1024) + b'"', 413),
    ],
)
def test_what_is_no_json_is_refused(service, text, status):
    answer = service.post("/audit/events", text, content_type="application/json")

    assert answer.status_code == status
    assert set(answer.json()["error"]) == {"code", "message", "fields"}


@pytest.mark.parametrize(
    "source", ["payments-api", "trading-api-2", "trading", "console", "console/x", "TRADING-API"]
)
def test_a_service_can_only_write_as_itself(service, source):
    answer = post(service, EVENT | {"source": source})

    assert answer.json()["error"]["fields"] == {
        "source": ["Write as yourself: trading-api, or trading-api/ and a name below it."]
    }
    assert not stored().exists()


def test_in_a_batch_a_foreign_source_is_named_and_the_others_are_accepted(service):
    answer = post(service, {"events": [EVENT, EVENT | {"id": "e-2", "source": "payments-api"}]})

    assert answer.json()["accepted"] == 1
    assert [(bad["index"], bad["id"]) for bad in answer.json()["rejected"]] == [(1, "e-2")]
    assert answer.json()["rejected"][0]["error"].startswith("source: Write as yourself")


def test_an_account_that_is_named_like_the_console_cannot_write_as_it(api_as):
    impostor = api_as(Role.SERVICE, "console")

    answer = post(impostor, {"action": "CREATE", "resource": "/x"})

    assert list(answer.json()["error"]["fields"]) == ["source"]


def test_a_source_below_its_name_keeps_who_reported_it(service):
    post(service, {"action": "CREATE", "resource": "/x", "source": "trading-api/eu"})

    assert json.loads(stored().get().details) == {"reportedBy": "trading-api"}


@pytest.mark.parametrize(
    ("occurred_at", "skew"),
    [
        ("2025-11-09T10:30:00Z", None),
        ("2025-11-09T10:30:05Z", None),
        ("2025-11-09T10:29:55Z", None),
        ("2025-11-09T10:30:05.001Z", 5001),
        ("2025-11-09T10:29:54Z", -6000),
        ("2025-11-09T11:29:54+01:00", -6000),
        ("0001-01-01T00:00:00Z", -63898281000000),
        ("9999-12-31T23:59:59Z", 251639616599000),
        (None, None),
    ],
)
def test_both_times_and_the_skew_between_two_clocks_are_kept(
    service, time_machine, occurred_at, skew
):
    time_machine.move_to(NOW, tick=False)

    answer = post(service, EVENT | {"occurredAt": occurred_at})

    log = stored().get()
    assert answer.status_code == 201
    assert log.created_at == NOW
    assert log.occurred_at == (datetime.fromisoformat(occurred_at) if occurred_at else None)
    assert (json.loads(log.details or "{}")).get("clockSkewMs") == skew


def test_the_request_that_brought_events_is_recorded_without_their_bodies(service):
    post(service, EVENT)

    log = AuditLog.objects.get(resource="/audit/events")
    assert (log.actor_type, log.actor) == ("service", "trading-api")
    assert "RSI_CROSS" not in log.request_data


def test_hostile_text_is_stored_harmlessly(service):
    body = EVENT | {"resource": "/x\x00y", "userAgent": "a\x00b", "requestData": "\x00\ud800"}
    text = json.dumps({"events": [body, EVENT | {"id": "e-2", "requestData": {"a": "\x00"}}]})

    answer = service.post("/audit/events", text, content_type="application/json")

    assert answer.status_code == 201
    assert answer.json()["accepted"] + len(answer.json()["rejected"]) == 2

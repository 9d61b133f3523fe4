import json
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from audit.models import AuditLog
from audit.reading import lookup
from compliance_site.foundation.roles import Role
from tests.redaction import tag

pytestmark = pytest.mark.django_db

SECRET = "hunter2-of-the-exchange"
MANY = """
INSERT INTO audit_log (created_at, source, event_id, request_id, actor_type, actor, action,
    resource, route, query, method, user_agent, request_data, response_data, details)
SELECT now(), 'x', n, '', 'user', '', 'READ', '/', '', '', 'GET', '', repeat('x', 500), '', ''
FROM generate_series(1, 5000) AS n
"""


@pytest.fixture
def officer(api_as):
    return api_as(Role.SECURITY_OFFICER)


def ask(client, **body):
    return client.post("/audit/redaction/lookup", body)


def test_a_value_that_occurred_is_found_wherever_its_tag_stands(officer, make_log):
    now = timezone.now()
    logs = [
        make_log(created_at=now, request_data=f'{{"password":"{tag(SECRET)}"}}'),
        make_log(created_at=now, query=f"token={tag(SECRET)}"),
        make_log(created_at=now, details=f'{{"note":"{tag(SECRET)}"}}'),
        make_log(created_at=now, resource=f"/reset/{tag(SECRET)}"),
    ]
    make_log(created_at=now, request_data=f'{{"password":"{tag("another")}"}}')
    make_log(created_at=now - timedelta(days=91), query=f"token={tag(SECRET)}")

    answer = ask(officer, value=SECRET)

    assert answer.status_code == 200
    found = answer.json()
    assert (found["tags"], found["occurrences"], found["isComplete"]) == ([tag(SECRET)], 4, True)
    assert sorted(found["entries"]) == sorted(log.pk for log in logs)
    assert ask(officer, value="never seen").json()["occurrences"] == 0


def test_what_was_posted_is_found_again(officer, service):
    event = {"action": "START", "resource": "/b", "requestData": {"apiKey": SECRET}}
    service.post("/audit/events", event)

    assert ask(officer, value=SECRET).json()["occurrences"] == 1


def test_a_period_bounds_the_search(officer, make_log):
    make_log(created_at=timezone.now(), query=f"token={tag(SECRET)}")
    yesterday = timezone.now() - timedelta(days=1)

    assert ask(officer, value=SECRET, startDate=yesterday).json()["occurrences"] == 1
    assert ask(officer, value=SECRET, endDate=yesterday).json()["occurrences"] == 0


def test_a_period_may_end_before_there_are_90_days(officer):
    answer = ask(officer, value=SECRET, endDate="0001-01-05T00:00:00Z")

    assert (answer.status_code, answer.json()["occurrences"]) == (200, 0)


def test_each_look_up_is_recorded_without_the_value(officer, make_log):
    make_log(created_at=timezone.now(), query=f"token={tag(SECRET)}")

    ask(officer, value=SECRET)

    entry = AuditLog.objects.get(action="LOOKUP")
    details = json.loads(entry.details)
    assert (details["tags"], details["occurrences"]) == ([tag(SECRET)], 1)
    assert entry.actor == "security_officer-user"
    for log in AuditLog.objects.all().values():
        assert SECRET not in str(log)


def test_look_ups_themselves_are_no_occurrences(officer):
    ask(officer, value=SECRET)

    assert ask(officer, value=SECRET).json()["occurrences"] == 0


def test_an_account_may_ask_so_often_an_hour(officer, api_as, monkeypatch):
    monkeypatch.setattr(lookup, "LOOKUPS_PER_HOUR", 2)
    assert [ask(officer, value="1234").status_code for _ in range(3)] == [200, 200, 429]

    refused = ask(officer, value="1234")

    assert refused.json()["error"]["code"] == "throttled"
    assert 3500 < int(refused.headers["Retry-After"]) <= 3600
    assert ask(api_as(Role.SECURITY_OFFICER, "other"), value="1234").status_code == 200
    assert AuditLog.objects.filter(action="LOOKUP").count() == 3


def test_a_search_that_takes_too_long_says_so_and_counts(officer, monkeypatch):
    with connection.cursor() as cursor:
        cursor.execute(MANY)
    monkeypatch.setattr(lookup, "SEARCH_MILLISECONDS", 1)

    answer = ask(officer, value=SECRET)

    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "search_timed_out")
    assert json.loads(AuditLog.objects.get(action="LOOKUP").details)["timedOut"] is True


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "value"),
        ({"value": ""}, "value"),
        ({"value": ["x"]}, "value"),
        ({"value": "x" * 8193}, "value"),
        ({"value": "x", "start": "2025-01-01"}, "start"),
        ({"value": "x", "startDate": "soon"}, "startDate"),
        ({"value": "x", "startDate": "2025-01-02", "endDate": "2025-01-01"}, "startDate"),
    ],
)
def test_a_bad_question_names_the_field(officer, body, field):
    answer = ask(officer, **body)

    assert answer.status_code == 400
    assert field in answer.json()["error"]["fields"]

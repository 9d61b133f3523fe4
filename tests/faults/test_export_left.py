import json
import time

import httpx
import pytest
from django.db import connection

from audit.models import AuditLog
from compliance_site.foundation.roles import Role

ENTRIES = 100_000
MANY = """
INSERT INTO audit_log (created_at, source, event_id, request_id, actor_type, actor, action,
    resource, route, query, method, user_agent, request_data, details)
SELECT now(), 'trading-api', n, '', 'user', 'a.meyer', 'READ', '/orders/' || n, '', '', 'GET',
    repeat('x', 200), '', '' FROM generate_series(1, %s) AS n
"""


@pytest.fixture
def auditor(make_user, token_of):
    return {"Authorization": f"Token {token_of(make_user('alice', Role.AUDITOR))}"}


def event_of_export():
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if event := AuditLog.objects.filter(action="EXPORT").first():
            return json.loads(event.details)
        time.sleep(0.1)
    pytest.fail("the export was never recorded")


def test_a_reader_that_leaves_is_recorded_with_how_far_it_got(console, auditor):
    with connection.cursor() as cursor:
        cursor.execute(MANY, [ENTRIES])

    with httpx.stream("GET", f"{console.url}/audit/export", headers=auditor) as answer:
        next(answer.iter_bytes())

    event = event_of_export()
    assert event["completed"] is False
    assert 0 <= event["rows"] < ENTRIES


def test_a_large_export_arrives_whole_and_its_hash_agrees(console, auditor):
    with connection.cursor() as cursor:
        cursor.execute(MANY, [ENTRIES])

    answer = console.get("/audit/export?source=trading-api", headers=auditor, timeout=120)

    assert answer.text.count("\r\n") == ENTRIES + 1
    event = event_of_export()
    assert (event["completed"], event["rows"]) == (True, ENTRIES)

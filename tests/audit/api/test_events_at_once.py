from concurrent.futures import ThreadPoolExecutor

from django.db import connections
from rest_framework.test import APIClient

from audit.models import AuditLog
from compliance_site.foundation.roles import Role

EVENTS = [{"id": f"e-{n}", "action": "START", "resource": "/bot/7"} for n in range(50)]


def test_events_sent_by_many_at_once_are_stored_once(committed_db, make_user, token_of):
    token = token_of(make_user("trading-api", Role.SERVICE))

    def send(number):
        client = APIClient(HTTP_AUTHORIZATION=f"Token {token}")
        # Every second sender in the other order: whoever locks in order of arrival deadlocks.
        events = EVENTS[::-1] if number % 2 else EVENTS
        try:
            return client.post("/audit/events", {"events": events}, format="json").json()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(send, range(8)))

    assert sum(answer["accepted"] for answer in answers) == 50
    assert sum(answer["duplicates"] for answer in answers) == 350
    assert AuditLog.objects.filter(action="START").count() == 50

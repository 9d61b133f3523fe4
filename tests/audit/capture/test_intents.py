import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import pytest
from asgiref.sync import async_to_sync
from django.db import connection, connections, transaction
from django.test import AsyncClient, Client
from django.utils import timezone

from audit.capture import intents
from audit.models import AuditLog, Intent
from audit.tasks import close_orphans

pytestmark = pytest.mark.urls("tests.audit.capture.views")
ORPHAN_AGE = timedelta(minutes=15)


@pytest.fixture(autouse=True)
def write_ahead(settings):
    settings.AUDIT_POLICY = [{"path": "/", "strictness": "write_ahead"}]


@pytest.fixture
def make_intent():
    def make(**overrides):
        defaults = {
            "event_id": "intent-1",
            "created_at": timezone.now() - ORPHAN_AGE - timedelta(seconds=1),
            "request_id": "request-1234",
            "method": "POST",
            "resource": "/secrets/7/rotate",
            "ip_address": "203.0.113.9",
            "user_agent": "curl/8",
            "host": "web",
            "pid": 7,
        }
        return Intent.objects.create(**defaults | overrides)

    return make


@pytest.mark.django_db
def test_the_intent_is_there_when_the_view_runs_and_the_entry_has_its_id():
    answer = Client().get(
        "/intents", headers={"X-Request-ID": "request-1234", "User-Agent": "curl/8"}
    )

    assert answer.json() == {"intents": 1}
    intent = Intent.objects.get()
    assert (intent.method, intent.resource, intent.route) == ("GET", "/intents", "")
    assert (intent.request_id, intent.user_agent) == ("request-1234", "curl/8")
    assert (intent.ip_address, bool(intent.host), intent.pid > 0) == ("127.0.0.1", True, True)
    log = AuditLog.objects.get()
    assert (log.event_id, log.status_code, log.details) == (intent.event_id, 200, "")


@pytest.mark.django_db
def test_an_intent_is_redacted_like_its_entry():
    token = "sk_live_" + "a1B2" * 6

    Client().get(f"/{token}", headers={"User-Agent": f"Bearer {token}"})

    intent, log = Intent.objects.get(), AuditLog.objects.get()
    assert token not in intent.resource + intent.user_agent
    assert (intent.resource, intent.user_agent) == (log.resource, log.user_agent)


@pytest.mark.django_db
@pytest.mark.parametrize("chain", ["as the console", "wholly asynchronous"])
def test_the_asynchronous_chain_writes_ahead_as_well(settings, chain):
    if chain == "wholly asynchronous":
        settings.MIDDLEWARE = ["audit.capture.middleware.AuditMiddleware"]

    answer = async_to_sync(AsyncClient().get)("/intents")

    assert answer.json() == {"intents": 1}
    assert AuditLog.objects.get().event_id == Intent.objects.get().event_id


@pytest.mark.django_db
def test_a_stream_that_was_written_ahead_has_one_intent():
    Client().get("/stream").getvalue()

    assert Intent.objects.get().event_id == AuditLog.objects.get().event_id


def test_without_the_database_the_view_does_not_run(committed_db):
    connection.close()
    port = connection.settings_dict["PORT"]
    connection.settings_dict["PORT"] = 1
    try:
        answer = Client().post("/fail")  # raises when it runs
    finally:
        connection.close()
        connection.settings_dict["PORT"] = port

    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "audit_unavailable")
    assert not Intent.objects.exists()
    assert not AuditLog.objects.filter(resource="/fail").exists()


def test_a_database_that_does_not_answer_in_time_counts_as_away(committed_db, settings):
    settings.AUDIT_COMMIT_SECONDS = 1
    with transaction.atomic(using="owner"):
        connections["owner"].cursor().execute("LOCK TABLE audit_intent")
        started = time.monotonic()
        answer = Client().post("/fail")  # raises when it runs
        waited = time.monotonic() - started

    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "audit_unavailable")
    assert waited < 5


def test_a_connection_that_broke_while_it_was_idle_refuses_nothing(committed_db, administrator):
    Client().get("/nothing")
    administrator(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        f"WHERE datname = '{committed_db}' AND application_name = 'audit-writer'"
    )

    assert Client().get("/nothing").status_code == 200
    assert Intent.objects.count() == AuditLog.objects.filter(resource="/nothing").count() == 2


@pytest.mark.django_db
def test_an_orphan_is_recorded_as_unknown_once(make_intent):
    intent = make_intent()

    close_orphans()
    close_orphans()

    log = AuditLog.objects.get()
    assert (log.event_id, log.request_id) == ("intent-1", "request-1234")
    assert (log.action, log.method, log.resource) == ("CREATE", "POST", "/secrets/7/rotate")
    assert (log.actor_type, log.actor, log.user_id) == ("anonymous", "", None)
    assert (log.status_code, json.loads(log.details)) == (None, {"outcome": "unknown"})
    assert (log.ip_address, log.user_agent) == ("203.0.113.9", "curl/8")
    assert log.occurred_at == intent.created_at


@pytest.mark.django_db
def test_what_is_young_or_complete_or_past_retention_is_no_orphan(make_intent, make_log, settings):
    now = timezone.now()
    make_intent(event_id="intent-young", created_at=now - ORPHAN_AGE + timedelta(seconds=1))
    make_intent(event_id="intent-complete", created_at=now - ORPHAN_AGE * 2)
    make_log(event_id="intent-complete", created_at=now - ORPHAN_AGE, source="console")
    retention = timedelta(days=settings.AUDIT_RETENTION_DAYS)
    make_intent(event_id="intent-old", created_at=now - retention - timedelta(seconds=1))

    assert intents.close_orphans(now) == 0


@pytest.mark.django_db
def test_an_event_of_a_service_completes_no_intent(make_intent, make_log):
    make_intent()
    make_log(event_id="intent-1", created_at=timezone.now(), source="trading-api")

    assert intents.close_orphans() == 1


@pytest.mark.django_db
def test_more_orphans_than_one_transaction_takes_are_all_closed(make_intent, monkeypatch):
    monkeypatch.setattr(intents, "ORPHANS_AT_ONCE", 2)
    for number in range(5):
        make_intent(event_id=f"intent-{number}")

    assert intents.close_orphans() == 5
    assert AuditLog.objects.count() == 5


@pytest.mark.django_db
def test_a_request_that_ends_after_all_is_recorded_as_late(settings, monkeypatch):
    settings.AUDIT_ORPHAN_MINUTES = 0

    Client().get("/nothing")

    assert json.loads(AuditLog.objects.get().details) == {"late": True}


def test_several_at_once_close_each_orphan_once(committed_db, make_intent):
    for number in range(500):
        make_intent(event_id=f"intent-{number}")
    barrier = Barrier(4)

    def close(thread):
        try:
            barrier.wait()
            return intents.close_orphans()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as pool:
        closed = list(pool.map(close, range(4)))

    assert sum(closed) == AuditLog.objects.count() == 500
    assert AuditLog.objects.values("event_id").distinct().count() == 500


def test_while_one_closes_another_does_nothing(committed_db, make_intent):
    make_intent()
    lock = "SELECT pg_advisory_xact_lock(hashtext('audit_close_orphans'))"

    with transaction.atomic(using="owner"):
        connections["owner"].cursor().execute(lock)
        assert intents.close_orphans() == 0

    assert intents.close_orphans() == 1


@pytest.mark.django_db
def test_the_search_for_an_entry_uses_its_own_index():
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        now = timezone.now()
        bounds = {"since": now - timedelta(days=1), "until": now, "limit": 10}
        cursor.execute(f"EXPLAIN {intents.ORPHANS}", bounds)
        plan = "\n".join(line for (line,) in cursor.fetchall())

    assert "event_id_idx" in plan

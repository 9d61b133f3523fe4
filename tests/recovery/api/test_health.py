import pytest
from django.db import connections
from rest_framework.test import APIClient

from audit.models import AuditLog
from compliance_site.foundation.roles import Role
from recovery.health import callers, maintenance, report

ADDRESSES = ("/health", "/health/ready", "/health/detailed", "/health/database", "/health/redis")
ELSEWHERE = {"REMOTE_ADDR": "203.0.113.9"}
DRAFT = "application/health+json"


@pytest.fixture(autouse=True)
def anew(patient):
    """Each test asks anew; what one found out is not another's."""
    report.forget()
    callers.forget()
    yield
    report.forget()


def execute_as_owner(statement):
    with connections["owner"].cursor() as cursor:
        cursor.execute(statement)


def keys_of(body):
    return {name: set(part) for name, part in body["components"].items()}


def test_health_asks_nothing_and_says_healthy(client):
    answer = client.get("/health", **ELSEWHERE)

    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/json")
    assert answer.json() == {"status": "healthy", "timestamp": answer.json()["timestamp"]}
    assert answer.headers["Cache-Control"] == "no-store"


def test_the_detailed_answer_is_as_documented(client, committed_db, one_worker):
    answer = client.get("/health/detailed")
    body = answer.json()

    assert answer.status_code == 200
    assert set(body) == {"status", "timestamp", "components", "metrics"}
    assert keys_of(body)["database"] == keys_of(body)["redis"] == {"status", "responseTime"}
    assert body["components"]["database"]["status"] == "healthy"
    assert type(body["components"]["database"]["responseTime"]) is int
    assert body["components"]["celery"] == {
        "status": "healthy",
        "activeWorkers": 1,
        "oldestTaskSeconds": None,
    }
    assert set(body["components"]) == {"database", "redis", "celery", "disk", "audit", "backup"}
    assert body["components"]["backup"] == {
        "status": "healthy",
        "databases": 1,
        "databasesAmiss": 0,
        "storedAgeSeconds": None,
        "verifiedAgeSeconds": None,
    }
    assert {name: type(value) for name, value in body["metrics"].items()} == {
        "cpuUsage": float,
        "memoryUsage": float,
        "diskUsage": float,
    }


def test_one_part_answers_by_itself(client, committed_db):
    for address in ("/health/database", "/health/redis"):
        body = client.get(address).json()

        assert set(body) == {"status", "timestamp", "responseTime"}
        assert body["status"] == "healthy"


def test_ready_is_bare_for_everybody(client, committed_db):
    assert set(client.get("/health/ready").json()) == {"status", "timestamp"}


@pytest.mark.parametrize("address", ADDRESSES)
def test_whoever_is_nobody_gets_the_status_only(client, committed_db, address):
    answer = client.get(address, **ELSEWHERE)

    assert set(answer.json()) == {"status", "timestamp"}


def test_only_who_may_see_details_learns_which_databases_there_are(client, committed_db, settings):
    settings.BACKUP_DATABASES = "warehouse=postgresql://ops:hunter2@db.internal/sales"
    execute_as_owner("UPDATE django_migrations SET applied = applied - interval '9 days'")

    insider, answer = client.get("/health/detailed"), client.get("/health/detailed", **ELSEWHERE)
    part = insider.json()["components"]["backup"]

    assert part["status"] == "degraded"
    assert part["reason"].endswith(" warehouse: there is no backup.")
    assert (part["databases"], part["databasesAmiss"]) == (2, 2)
    assert set(answer.json()) == {"status", "timestamp"}
    assert "warehouse" not in answer.content.decode()
    assert all(hidden not in str(part) for hidden in ("hunter2", "db.internal", "sales"))


@pytest.mark.parametrize("address", ADDRESSES[2:])
@pytest.mark.parametrize("role", [*Role])
def test_a_token_with_a_role_gets_details(committed_db, make_user, token_of, address, role):
    client = APIClient(HTTP_AUTHORIZATION=f"Token {token_of(make_user('somebody', role))}")

    assert len(client.get(address, **ELSEWHERE).json()) > 2


def test_a_session_with_a_role_gets_details_and_one_without_does_not(
    committed_db, client, make_user
):
    for name, roles, expected in (("nobody", (), 2), ("olaf", (Role.OPERATOR,), 3)):
        user = make_user(name, *roles)
        client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")

        assert len(client.get("/health/database", **ELSEWHERE).json()) == expected


@pytest.mark.parametrize("header", ["Token nonsense", "Token \0", "Token a b", "Basic eDp5"])
def test_credentials_that_are_refused_are_those_of_nobody(committed_db, client, header):
    answer = client.get("/health/database", headers={"Authorization": header}, **ELSEWHERE)

    assert (answer.status_code, len(answer.json())) == (200, 2)


def test_no_header_of_a_client_makes_it_local(committed_db, client):
    answer = client.get("/health/database", headers={"X-Forwarded-For": "127.0.0.1"}, **ELSEWHERE)

    assert len(answer.json()) == 2


@pytest.mark.parametrize("address", ADDRESSES)
def test_only_get_and_head_are_answered(committed_db, client, address):
    assert client.head(address).content == b""
    for method in ("post", "put", "patch", "delete", "options"):
        assert getattr(client, method)(address).status_code == 405


@pytest.mark.parametrize("accept", ["text/html", "nonsense", "application/xml;q=0.1", ""])
def test_whatever_is_accepted_there_is_an_answer(client, accept):
    answer = client.get("/health", headers={"Accept": accept})

    assert (answer.status_code, answer.json()["status"]) == (200, "healthy")


def test_the_drafts_format_is_given_to_who_asks_for_it(committed_db, client, one_worker):
    answer = client.get("/health/detailed", headers={"Accept": DRAFT})
    body = answer.json()
    (database,) = body["checks"]["database:responseTime"]

    assert answer.headers["Content-Type"] == DRAFT
    assert set(body) == {"status", "checks"}
    assert body["status"] in {"pass", "warn"}
    assert database == {
        "componentType": "datastore",
        "status": "pass",
        "time": database["time"],
        "observedValue": database["observedValue"],
        "observedUnit": "ms",
    }
    assert body["checks"]["celery:activeWorkers"][0]["observedValue"] == 1
    assert body["checks"]["machine:cpuUsage"][0]["observedUnit"] == "percent"


def test_the_drafts_format_says_no_more_to_nobody(committed_db, client):
    answer = client.get("/health/database", headers={"Accept": DRAFT}, **ELSEWHERE)

    assert answer.json() == {"status": "pass"}


def test_maintenance_is_not_ready(client, monkeypatch):
    monkeypatch.setattr(maintenance, "is_on", lambda: True)

    answer = client.get("/health/ready")

    assert (answer.status_code, answer.json()["status"]) == (503, "maintenance")
    assert answer.headers["Retry-After"] == "5"
    assert client.get("/health").status_code == 200


def test_a_broker_that_is_away_is_said_without_its_address(committed_db, client, settings):
    settings.REDIS_URL = "redis://:a-password@127.0.0.1:1/0"

    answer = client.get("/health/redis")
    text = answer.content.decode()

    assert (answer.status_code, answer.json()["status"]) == (503, "unhealthy")
    assert answer.json()["reason"] == "It refuses connections, or is not there."
    assert client.get("/health/ready").status_code == 200
    assert all(hidden not in text for hidden in ("127.0.0.1", "a-password", "Error", "6379"))


def test_health_is_answered_in_plain_http_where_pages_are_redirected(client, settings):
    settings.SECURE_SSL_REDIRECT = True

    answers = {address: client.get(address).status_code for address in ADDRESSES}

    assert answers["/health"] == 200
    assert answers["/health/ready"] in {200, 503}
    assert {answers[address] for address in ADDRESSES[2:]} == {301}


def test_no_health_request_is_an_entry(committed_db, client):
    for address in ADDRESSES:
        client.get(address)

    assert not AuditLog.objects.filter(resource__startswith="/health").exists()

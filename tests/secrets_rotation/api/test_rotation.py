from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.db import connection
from django.test.utils import CaptureQueriesContext

from audit.models import AuditLog
from secrets_rotation.models import Policy, Rotation, Run, Secret, Version

pytestmark = pytest.mark.django_db

STRONG = "correct-horse-battery-staple-93"


@pytest.fixture
def officer(api_as):
    return api_as("security_officer")


@pytest.fixture
def rotate(officer):
    def post(*, key=None, **body):
        return officer.post(
            "/secrets/rotation/rotate",
            {"secretType": "DATABASE", "secretName": "postgres_password"} | body,
            headers={"Idempotency-Key": key} if key else {},
        )

    return post


def test_rotate_answers_as_the_document_says(make_secret, rotate):
    make_secret()

    answer = rotate(newValue=STRONG)

    run = Run.objects.get()
    rotation = Rotation.objects.get()
    assert answer.status_code == 200
    assert answer.json() == {
        "status": "success",
        "secretType": "DATABASE",
        "secretName": "postgres_password",
        "rotatedAt": f"{rotation.rotated_at:%Y-%m-%dT%H:%M:%SZ}",
        "nextRotation": f"{rotation.rotated_at.date() + timedelta(days=90)}T00:00:00Z",
        "runId": run.pk,
        "state": "REVOKED",
    }


def test_without_a_value_the_console_makes_one(make_secret, rotate, paper_of):
    secret = make_secret()

    answer = rotate()

    assert answer.status_code == 200
    (value,) = paper_of(secret).accepts
    assert value not in answer.content.decode()


def test_the_value_is_nowhere_in_the_log(make_secret, rotate):
    make_secret()

    assert rotate(newValue=STRONG).status_code == 200

    logs = AuditLog.objects.filter(resource="/secrets/rotation/rotate")
    assert logs.count() == 1
    assert not [row for row in AuditLog.objects.values() if STRONG in str(row)]


@pytest.mark.parametrize("field", ["secretType", "secretName"])
def test_a_value_in_the_place_of_a_name_is_not_quoted_and_not_looked_for(
    make_secret, rotate, field
):
    make_secret()

    with CaptureQueriesContext(connection) as queries:
        answer = rotate(**{field: STRONG})

    assert answer.status_code == 404
    assert STRONG not in answer.content.decode()
    assert not [query for query in queries if STRONG in query["sql"]]


def test_while_the_target_is_silent_the_run_goes_on_by_itself(make_secret, rotate, paper_of):
    secret = make_secret()
    paper_of(secret).is_away = True

    answer = rotate()

    assert answer.status_code == 202
    assert answer.json() | {"runId": 0, "nextRotation": ""} == {
        "status": "running",
        "secretType": "DATABASE",
        "secretName": "postgres_password",
        "rotatedAt": None,
        "nextRotation": "",
        "runId": 0,
        "state": "SETTING",
    }


@pytest.mark.parametrize(
    ("body", "status", "code", "text"),
    [
        ({"secretType": "DATABSE"}, 404, "not_found", "did you mean DATABASE?"),
        ({"secretName": "postgres_pasword"}, 404, "not_found", "did you mean postgres_password?"),
        ({"newValue": "short"}, 422, "value_length", "Give 16 to 256 signs."),
        ({"newValue": "passwordpassword"}, 422, "value_strength", "too easy to guess"),
        ({"newValue": ["x"]}, 400, "invalid", "newValue: Not a valid string."),
        ({"newValue": "x" * 5_000}, 400, "invalid", "newValue"),
        ({"secretName": None}, 400, "invalid", "secretName"),
    ],
)
def test_bad_requests_are_refused_and_change_nothing(
    make_secret, rotate, paper_of, body, status, code, text
):
    secret = make_secret()

    answer = rotate(**body)

    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (status, code)
    assert text in error["message"]
    assert not Version.objects.exists()
    assert paper_of(secret).sets == []


def test_a_value_of_before_is_refused_without_saying_which(make_secret, rotate):
    make_secret(rules={"grace": timedelta(0)})
    rotate(newValue=STRONG)
    rotate()

    answer = rotate(newValue=STRONG)

    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "value_reuse")
    assert answer.json()["error"]["message"] == "This value was used before."


def test_a_value_that_the_target_refuses_is_answered_with_its_rule(make_secret, rotate, paper_of):
    secret = make_secret()
    paper_of(secret).refuses_rule = "passwordcheck"

    answer = rotate(newValue=STRONG)

    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "rotation_refused")
    assert answer.json()["error"]["message"] == "The target refused the value: passwordcheck."


def test_a_run_in_flight_is_named(make_secret, rotate, paper_of):
    secret = make_secret()
    paper_of(secret).is_away = True
    run_id = rotate().json()["runId"]

    answer = rotate()

    assert answer.status_code == 409
    assert answer.json()["error"]["code"] == "run_in_flight"
    assert answer.json()["error"]["fields"] == {"runId": [str(run_id)]}


def test_the_same_key_rotates_once(make_secret, rotate):
    make_secret()

    first, second = rotate(key="k", newValue=STRONG), rotate(key="k", newValue=STRONG)

    assert first.json() == second.json()
    assert Rotation.objects.count() == 1
    reused = rotate(key="k")
    assert (reused.status_code, reused.json()["error"]["code"]) == (
        422,
        "idempotency_key_reused",
    )


@time_machine.travel(datetime(2025, 11, 9, 10, 45, tzinfo=UTC), tick=False)
def test_the_schedule_is_as_the_document_prints_it(make_secret, officer):
    make_secret(
        last_rotated_at=datetime(2025, 10, 9, tzinfo=UTC),
        anchored_on=datetime(2025, 10, 9, tzinfo=UTC).date(),
        rules={"interval": 3, "interval_unit": "months"},
    )
    make_secret(
        "master_encryption_key",
        secret_type="ENCRYPTION_KEY",
        last_rotated_at=datetime(2025, 11, 1, tzinfo=UTC),
        anchored_on=datetime(2025, 11, 1, tzinfo=UTC).date(),
        rules={"interval": 3, "interval_unit": "months"},
    )

    answer = officer.get("/secrets/rotation/schedule")

    assert answer.json() == {
        "schedules": [
            {
                "secretType": "DATABASE",
                "secretName": "postgres_password",
                "lastRotated": "2025-10-09T00:00:00Z",
                "nextRotation": "2026-01-09T00:00:00Z",
                "daysUntilRotation": 60,
                "status": "ACTIVE",
            },
            {
                "secretType": "ENCRYPTION_KEY",
                "secretName": "master_encryption_key",
                "lastRotated": "2025-11-01T00:00:00Z",
                "nextRotation": "2026-02-01T00:00:00Z",
                "daysUntilRotation": 83,
                "status": "ACTIVE",
            },
        ]
    }


def test_what_is_overdue_says_so(make_secret, officer):
    long_ago = datetime(2024, 1, 1, tzinfo=UTC)
    make_secret(last_rotated_at=long_ago, anchored_on=long_ago.date())

    (row,) = officer.get("/secrets/rotation/schedule").json()["schedules"]

    assert row["status"] == "OVERDUE"
    assert row["daysUntilRotation"] < 0


def test_the_history_tells_what_became_of_each_value(make_secret, rotate, officer):
    make_secret()
    make_secret("other_password")
    rotate()
    Run.objects.get()
    rotate()
    rotate(secretName="other_password")

    answer = officer.get("/secrets/rotation/history?secretName=postgres_password&limit=10")

    history = answer.json()["history"]
    assert [(row["status"], row["secretName"]) for row in history] == [
        ("ROTATED", "postgres_password"),
        ("DEPRECATED", "postgres_password"),
    ]
    assert {row["rotatedBy"] for row in history} != {None}
    assert len(officer.get("/secrets/rotation/history?limit=1").json()["history"]) == 1


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "limit=1001", "secret=DATABASE"])
def test_a_history_query_that_is_not_understood_is_refused(officer, query):
    assert officer.get(f"/secrets/rotation/history?{query}").status_code == 400


def test_the_policy_changes_as_the_document_says(officer):
    body = {
        "secretType": "API_KEY",
        "rotationIntervalDays": 30,
        "gracePeriodDays": 3,
        "autoRotate": False,
    }

    answer = officer.put("/secrets/rotation/policy", body)

    assert answer.status_code == 200
    assert answer.json() == body | {
        "rotationIntervalMonths": None,
        "windowStart": "00:00:00",
        "windowEnd": "00:00:00",
        "historyLength": 5,
        "valueLength": 32,
        "valueSymbols": "-_.~",
        "becomesDue": [],
    }
    policy = Policy.objects.get(secret_type="API_KEY")
    assert (policy.interval, policy.grace, policy.auto_rotate) == (30, timedelta(days=3), False)


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"secretType": "API_KEYS"}, 404, None),
        ({"rotationIntervalDays": 0}, 400, "rotationIntervalDays"),
        ({"rotationIntervalDays": 1_000_000}, 400, "rotationIntervalDays"),
        ({"gracePeriodDays": -1}, 400, "gracePeriodDays"),
        ({"gracePeriodDays": 60}, 400, "gracePeriodDays"),
        ({"rotationIntervalMonths": 1, "gracePeriodDays": 28}, 400, "gracePeriodDays"),
        ({"rotationIntervalMonths": 1, "rotationIntervalDays": 1}, 400, "rotationIntervalMonths"),
        ({"valueLength": 4}, 400, "valueLength"),
        ({"valueSymbols": "'"}, 400, "valueSymbols"),
        ({"historyLength": 0}, 400, "historyLength"),
        ({"autoRotate": "perhaps"}, 400, "autoRotate"),
    ],
)
def test_a_policy_that_cannot_work_is_refused(officer, body, status, field):
    before = Policy.objects.values().get(secret_type="API_KEY")

    answer = officer.put("/secrets/rotation/policy", {"secretType": "API_KEY"} | body)

    assert answer.status_code == status
    if field:
        assert field in answer.json()["error"]["fields"]
    assert Policy.objects.values().get(secret_type="API_KEY") == before


def test_the_preview_shows_what_becomes_due_and_changes_nothing(make_secret, officer):
    rotated = datetime.now(UTC) - timedelta(days=20)
    make_secret(last_rotated_at=rotated, anchored_on=rotated.date())
    body = {"secretType": "DATABASE", "rotationIntervalDays": 10}

    (effect,) = officer.post("/secrets/rotation/policy/preview", body).json()["effects"]

    assert effect == {
        "secretName": "postgres_password",
        "nextRotation": f"{(rotated + timedelta(days=90)).date()}T00:00:00Z",
        "nextRotationThen": f"{(rotated + timedelta(days=10)).date()}T00:00:00Z",
        "becomesDue": True,
    }
    assert Policy.objects.get(secret_type="DATABASE").interval == 90
    answer = officer.put("/secrets/rotation/policy", body)
    assert answer.json()["becomesDue"] == ["postgres_password"]


def test_an_auditor_reads_and_changes_nothing(make_secret, api_as):
    make_secret()
    auditor = api_as("auditor")

    assert auditor.get("/secrets/rotation/schedule").status_code == 200
    assert auditor.get("/secrets/rotation/policy").status_code == 200
    assert auditor.put("/secrets/rotation/policy", {}).status_code == 403
    assert auditor.post("/secrets/rotation/rotate", {}).status_code == 403
    assert Secret.objects.count() == 1

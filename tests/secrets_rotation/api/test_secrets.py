from datetime import timedelta

import pytest

from secrets_rotation.models import Secret, TargetCredential, VersionValue
from secrets_rotation.rotators.registry import ROTATORS
from tests.secrets_rotation.paper import PAPERS, Paper

pytestmark = pytest.mark.django_db


@pytest.fixture
def officer(api_as):
    return api_as("security_officer")


@pytest.fixture
def paper(make_secret):
    return PAPERS.setdefault("one", Paper())


NEW = {
    "secretType": "API_KEY",
    "secretName": "exchange.key",
    "rotator": "paper",
    "target": {"name": "one", "adminPassword": "very-secret-1"},
    "owner": "trading",
    "tags": ["prod", "exchange"],
    "policy": {"rotationIntervalDays": 30, "gracePeriodDays": 2},
}
SHOWN = {
    "secretType": "API_KEY",
    "secretName": "exchange.key",
    "owner": "trading",
    "tags": ["exchange", "prod"],
    "rotator": "paper",
    "target": {"name": "one"},
    "policy": {
        "rotationIntervalDays": 30,
        "rotationIntervalMonths": None,
        "gracePeriodDays": 2,
        "autoRotate": None,
        "windowStart": None,
        "windowEnd": None,
        "historyLength": None,
        "valueLength": None,
        "valueSymbols": None,
    },
    "dependsOn": [],
    "lastRotated": None,
    "retiredAt": None,
}


def test_a_secret_is_added_and_shown_without_what_is_secret(officer, paper):
    answer = officer.post("/secrets", NEW)

    assert answer.status_code == 201
    secret = Secret.objects.get()
    assert answer.json() == SHOWN | {"id": secret.pk}
    assert officer.get(f"/secrets/{secret.pk}").json() == answer.json()
    assert officer.get("/secrets").json() == {"secrets": [answer.json()]}
    assert "very-secret-1" in secret.target_credential.unseal().reveal()


@pytest.mark.parametrize(
    ("change", "status", "field"),
    [
        ({"secretType": "APIKEY"}, 404, None),
        ({"rotator": "papier"}, 404, None),
        ({"secretName": "a b"}, 400, "secretName"),
        ({"secretName": "../x"}, 400, "secretName"),
        ({"target": {}}, 400, "name"),
        ({"target": {"name": 5}}, 400, "name"),
        ({"target": {"name": "one", "nome": "x"}}, 400, "nome"),
        ({"policy": {"gracePeriodDays": 90}}, 400, "gracePeriodDays"),
        ({"policy": {"rotationIntervalDays": 0}}, 400, "rotationIntervalDays"),
        ({"dependsOn": [77]}, 400, "dependsOn"),
        ({"tags": "prod"}, 400, "tags"),
    ],
)
def test_what_cannot_be_is_refused_by_its_field(officer, paper, change, status, field):
    answer = officer.post("/secrets", NEW | change)

    assert answer.status_code == status
    if field:
        assert field in answer.json()["error"]["fields"]
    assert not Secret.objects.exists()


def test_a_name_is_given_once(officer, paper):
    officer.post("/secrets", NEW)

    assert officer.post("/secrets", NEW).status_code == 409


def test_a_change_keeps_what_is_left_out(officer, paper):
    id = officer.post("/secrets", NEW).json()["id"]

    answer = officer.patch(
        f"/secrets/{id}", {"target": {"name": "two"}, "policy": {"gracePeriodDays": 5}}
    )

    assert answer.status_code == 200
    policy = SHOWN["policy"] | {"gracePeriodDays": 5}
    assert answer.json() == SHOWN | {"id": id, "target": {"name": "two"}, "policy": policy}
    credential = TargetCredential.objects.get().unseal().reveal()
    assert "very-secret-1" in credential


def test_a_retired_secret_keeps_its_history_and_no_value(officer, paper):
    id = officer.post("/secrets", NEW).json()["id"]
    body = {"secretType": "API_KEY", "secretName": "exchange.key"}
    assert officer.post("/secrets/rotation/rotate", body).status_code == 200

    assert officer.delete(f"/secrets/{id}").status_code == 204

    assert officer.get("/secrets").json() == {"secrets": []}
    assert officer.get(f"/secrets/{id}").json()["retiredAt"] is not None
    assert len(officer.get("/secrets/rotation/history").json()["history"]) == 1
    assert not VersionValue.objects.exists()
    assert not TargetCredential.objects.exists()
    assert officer.delete(f"/secrets/{id}").status_code == 404
    assert officer.post("/secrets/rotation/rotate", body).status_code == 404


def test_a_secret_under_rotation_is_neither_moved_nor_retired(officer, paper):
    id = officer.post("/secrets", NEW).json()["id"]
    paper.is_away = True
    body = {"secretType": "API_KEY", "secretName": "exchange.key"}
    assert officer.post("/secrets/rotation/rotate", body).status_code == 202

    assert officer.delete(f"/secrets/{id}").status_code == 409
    assert officer.patch(f"/secrets/{id}", {"target": {"name": "two"}}).status_code == 409
    assert officer.patch(f"/secrets/{id}", {"owner": "ops"}).status_code == 200


def test_every_rotator_says_what_its_settings_are():
    assert ROTATORS
    for rotator in ROTATORS.values():
        assert rotator.summary
        assert all(setting.help for setting in rotator.settings)


def test_a_run_shows_its_steps_and_takes_decisions(officer, make_secret, paper_of):
    secret = make_secret(rules={"grace": timedelta(days=1)})
    body = {"secretType": "DATABASE", "secretName": secret.name}
    officer.post("/secrets/rotation/rotate", body)
    run_id = officer.post("/secrets/rotation/rotate", body).json()["runId"]
    paper_of(secret).sessions.append("4711")

    run = officer.get(f"/secrets/rotation/runs/{run_id}").json()
    assert (run["state"], run["version"]) == ("GRACE", 2)
    assert [step["state"] for step in run["steps"]] == [
        "PENDING",
        "SETTING",
        "SET",
        "VERIFIED",
        "DISTRIBUTING",
        "GRACE",
    ]
    usages = officer.get(f"/secrets/rotation/runs/{run_id}/usages").json()["usages"]
    assert usages == [{"session": "4711", "who": "test", "since": None}]

    assert officer.post(f"/secrets/rotation/runs/{run_id}/resume").status_code == 409
    assert officer.post(f"/secrets/rotation/runs/{run_id}/roll-back").status_code == 409
    assert officer.post(f"/secrets/rotation/runs/{run_id}/adopt", {}).status_code == 409
    paper_of(secret).sessions.clear()
    ended = officer.post(f"/secrets/rotation/runs/{run_id}/revoke").json()
    assert ended["state"] == "REVOKED"


def test_an_unreachable_target_answers_504(officer, make_secret, paper_of):
    secret = make_secret()
    body = {"secretType": "DATABASE", "secretName": secret.name}
    officer.post("/secrets/rotation/rotate", body)
    run_id = officer.post("/secrets/rotation/rotate", body).json()["runId"]
    paper_of(secret).is_away = True

    assert officer.get(f"/secrets/rotation/runs/{run_id}/usages").status_code == 504

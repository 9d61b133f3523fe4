from datetime import timedelta

import pytest
from django.contrib.auth.models import User

from secrets_rotation import catalogue
from secrets_rotation.exceptions import SecretRetiredError
from secrets_rotation.models import Consumer, Delivery, Run, Secret, TargetCredential, VersionValue
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
VALKEY = {"host": "cache", "username": "app", "adminPassword": "very-secret-1"}
HTTP = {name: {"url": "https://api.example.org/"} for name in ("create", "verify", "revoke")}


def deep(levels):
    return {"a": deep(levels - 1)} if levels else "b"


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
        ({"tags": ["x"] * 10_000}, 400, "tags"),
        ({"target": {"name": "\0"}}, 400, "name"),
        ({"target": {"name": ["one"]}}, 400, "name"),
        ({"policy": {"gracePeriodDays": -(10**12)}}, 400, "policy.gracePeriodDays"),
        ({"policy": {"windowStart": "02:00"}}, 400, "windowStart"),
        ({"policy": {"historyLength": 10**30}}, 400, "historyLength"),
        ({"dependsOn": [10**30]}, 400, "dependsOn"),
        ({"rotator": "valkey_acl", "target": VALKEY | {"port": ""}}, 400, "port"),
        ({"rotator": "valkey_acl", "target": VALKEY | {"username": "u" * 201}}, 400, "username"),
        ({"rotator": "valkey_acl", "target": VALKEY | {"host": "h" * 501}}, 400, "target"),
        ({"rotator": "http_api", "target": HTTP | {"credentials": deep(20)}}, 400, "credentials"),
    ],
)
def test_what_cannot_be_is_refused_by_its_field(officer, paper, change, status, field):
    answer = officer.post("/secrets", NEW | change)

    assert answer.status_code == status
    if field:
        assert field in answer.json()["error"]["fields"]
    assert not Secret.objects.exists()


@pytest.mark.parametrize(
    ("field", "json"),
    [
        ("name", r'"\ud800"'),
        ("adminPassword", r'"\ud800"'),
        ("adminPassword", r'"\u0000"'),
        ("name", "1e999"),
        ("name", "9" * 4_000),
    ],
)
def test_settings_that_cannot_be_stored_are_refused(officer, paper, field, json):
    settings = f'"name": "one", "{field}": {json}'
    body = f'{{"secretType": "API_KEY", "secretName": "x", "rotator": "paper", "target": {{{settings}}}}}'

    answer = officer.generic("POST", "/secrets", body, content_type="application/json")

    assert (answer.status_code, *answer.json()["error"]["fields"]) == (400, field)


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


def test_a_credential_does_not_follow_its_target_to_another_address_unseen(officer):
    target = VALKEY | {"adminPassword": "very-secret-1"}
    id = officer.post("/secrets", NEW | {"rotator": "valkey_acl", "target": target}).json()["id"]

    def change(**changed):
        shown = {name: target[name] for name in ("host", "username")}
        return officer.patch(f"/secrets/{id}", {"target": shown | changed})

    refused = change(host="elsewhere")

    assert refused.status_code == 400
    assert refused.json()["error"]["fields"] == {
        "adminPassword": ["It would go to another address: give it again."]
    }
    assert Secret.objects.get().target["host"] == "cache"
    assert change(username="other").status_code == 200
    assert change(host="elsewhere", adminPassword="very-secret-2").status_code == 200


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


def rotated_into_attention(officer, paper, settings):
    """A secret of the API whose target is away for too long."""
    settings.ROTATION_ATTEMPTS = 0
    id = officer.post("/secrets", NEW).json()["id"]
    paper.is_away = True
    body = {"secretType": "API_KEY", "secretName": "exchange.key"}
    assert officer.post("/secrets/rotation/rotate", body).json()["state"] == "ATTENTION"
    return id


def test_a_target_is_corrected_while_its_run_waits_for_a_person(officer, paper, settings):
    id = rotated_into_attention(officer, paper, settings)
    PAPERS["two"] = Paper()

    assert officer.patch(f"/secrets/{id}", {"target": {"name": "two"}}).status_code == 200

    resumed = officer.post(f"/secrets/rotation/runs/{Run.objects.get().pk}/resume").json()
    assert resumed["state"] == "REVOKED"
    assert len(PAPERS["two"].accepts) == 1


def test_a_secret_whose_target_is_gone_can_be_retired(officer, paper, settings):
    id = rotated_into_attention(officer, paper, settings)

    assert officer.delete(f"/secrets/{id}").status_code == 204

    run = Run.objects.get()
    assert (run.state, run.leased_until) == ("ROLLED_BACK", None)
    assert run.reason.startswith("The secret is retired. The target was not asked again")
    assert not VersionValue.objects.exists()


def test_a_target_that_is_gone_before_the_old_value_ended_is_said(
    officer, make_secret, paper_of, settings
):
    settings.ROTATION_ATTEMPTS = 0
    secret = make_secret(rules={"grace": timedelta(0)})
    body = {"secretType": "DATABASE", "secretName": secret.name}
    officer.post("/secrets/rotation/rotate", body)
    paper_of(secret).sessions.append("4711")
    assert officer.post("/secrets/rotation/rotate", body).json()["state"] == "ATTENTION"

    assert officer.delete(f"/secrets/{secret.pk}").status_code == 204

    run = Run.objects.latest("pk")
    assert (run.state, run.steps.last().is_trouble) == ("REVOKED", True)
    assert "may accept every value" in run.reason
    assert not VersionValue.objects.exists()


def test_an_override_is_changed_as_a_whole(officer, paper):
    id = officer.post("/secrets", NEW | {"policy": {"rotationIntervalDays": 10}}).json()["id"]

    def change(**policy):
        return officer.patch(f"/secrets/{id}", {"policy": policy})

    # The type's sixty days would allow it, the ten of the override do not.
    refused = change(gracePeriodDays=20)
    assert (refused.status_code, *refused.json()["error"]["fields"]) == (400, "gracePeriodDays")
    assert change(windowStart="02:00").status_code == 400
    assert change(windowStart="02:00", windowEnd="04:00").status_code == 200
    assert change(windowEnd=None).status_code == 400
    assert change(windowEnd="05:00").status_code == 200

    taken_back = change(rotationIntervalDays=None, gracePeriodDays=20).json()["policy"]
    assert (taken_back["rotationIntervalDays"], taken_back["gracePeriodDays"]) == (None, 20)


def test_a_type_cannot_break_the_override_of_a_secret(officer, paper):
    officer.post("/secrets", NEW | {"policy": {"gracePeriodDays": 40}})

    answer = officer.put(
        "/secrets/rotation/policy", {"secretType": "API_KEY", "rotationIntervalDays": 30}
    )

    assert answer.status_code == 400
    (text,) = answer.json()["error"]["fields"]["gracePeriodDays"]
    assert text.startswith("With the override of exchange.key: The grace period must be shorter")


def test_what_the_console_cannot_open_is_no_server_error(officer, paper):
    id = officer.post("/secrets", NEW).json()["id"]
    TargetCredential.objects.update(key_id="0" * 16)
    body = {"secretType": "API_KEY", "secretName": "exchange.key"}

    answer = officer.post("/secrets/rotation/rotate", body)

    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "sealed")
    assert "0000000000000000" in answer.json()["error"]["message"]
    # It is given anew, and all is well.
    assert officer.patch(f"/secrets/{id}", {"target": NEW["target"]}).status_code == 200
    assert officer.post("/secrets/rotation/rotate", body).status_code == 200


def test_a_retired_secret_takes_its_consumers_along(officer, paper):
    id = officer.post("/secrets", NEW).json()["id"]
    body = {"secretType": "API_KEY", "secretName": "exchange.key"}
    officer.post("/secrets/rotation/rotate", body)
    officer.post(f"/secrets/{id}/consumers", {"name": "billing"})

    assert officer.delete(f"/secrets/{id}").status_code == 204

    assert Consumer.objects.get().retired_at is not None
    # Nothing is tried for ever: there is no value any more.
    assert [delivery.state for delivery in Delivery.objects.all()] == ["superseded"]


def test_a_secret_is_retired_once(officer, paper):
    id = officer.post("/secrets", NEW).json()["id"]
    secret = Secret.objects.get(pk=id)
    catalogue.retire(secret)

    for late in (catalogue.retire, lambda secret: catalogue.change(secret, target=NEW["target"])):
        with pytest.raises(SecretRetiredError):
            late(secret)

    assert not TargetCredential.objects.exists()


def test_lists_ask_as_often_however_long_they_are(
    officer, make_secret, django_assert_max_num_queries
):
    for number in range(20):
        secret = make_secret(f"secret-{number}", rules={"grace": timedelta(days=number)})
    accounts = [User.objects.create(username=f"service-{number}") for number in range(20)]
    Consumer.objects.bulk_create(
        Consumer(secret=secret, name=account.username, delivery="none", service_account=account)
        for account in accounts
    )

    for path in ("/secrets", "/secrets/rotation/schedule", f"/secrets/{secret.pk}/consumers"):
        with django_assert_max_num_queries(14):
            assert officer.get(path).status_code == 200

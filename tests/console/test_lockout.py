import pytest
from axes.models import AccessAttempt

from tests.conftest import PASSWORD

pytestmark = pytest.mark.django_db


def sign_in(client, username, password="wrong", **headers):
    return client.post(
        "/admin/login/?next=/admin/&token=canary-in-query",
        {"username": username, "password": password, "other": "canary-in-form"},
        headers={"User-Agent": "canary-in-agent", "Accept": "canary-in-accept"} | headers,
    )


def test_a_failed_sign_in_stores_no_text_of_the_caller(client):
    sign_in(client, "canary-typed-into-the-name-field")

    (attempt,) = AccessAttempt.objects.values()
    assert "canary" not in str(attempt)
    assert attempt["username"].startswith("hmac-sha256:")
    assert (attempt["ip_address"], attempt["failures_since_start"]) == ("127.0.0.1", 1)


def test_an_account_that_was_tried_is_named(client, make_user):
    make_user("alice", "auditor")

    sign_in(client, "alice")

    assert AccessAttempt.objects.get().username == "alice"


def test_changing_the_user_agent_does_not_escape_the_lock_out(client, make_user):
    make_user("alice", "auditor")
    for number in range(5):
        sign_in(client, "alice", **{"User-Agent": f"browser {number}"})

    assert sign_in(client, "alice", PASSWORD).status_code == 429


def test_a_name_that_is_no_account_is_locked_out_as_well(client):
    for _ in range(5):
        sign_in(client, "nobody")

    assert sign_in(client, "nobody").status_code == 429


def test_a_refused_sign_in_leads_on_to_where_it_wanted(client, make_user):
    make_user("alice", "auditor")
    sign_in(client, "alice")

    answer = sign_in(client, "alice", PASSWORD)

    assert (answer.status_code, answer.headers["Location"]) == (302, "/admin/")

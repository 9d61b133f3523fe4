from datetime import timedelta

import pytest
from rest_framework.test import APIClient

from audit.models import AuditLog
from tests.conftest import PASSWORD

pytestmark = pytest.mark.django_db


def sign_in(client, username, password):
    return client.post("/admin/login/", {"username": username, "password": password})


def events():
    return list(
        AuditLog.objects.exclude(method="POST")
        .exclude(action="READ")
        .order_by("id")
        .values_list("action", "actor_type", "user_id", "actor")
    )


def test_signing_in_and_out_is_recorded(client, make_user):
    user = make_user("alice", "auditor")

    sign_in(client, "alice", PASSWORD)
    client.post("/admin/logout/")

    assert events() == [
        ("LOGIN", "user", user.pk, "alice"),
        ("LOGOUT", "user", user.pk, "alice"),
    ]


def test_a_sign_in_is_tied_to_its_request(client, make_user):
    make_user("alice", "auditor")

    sign_in(client, "alice", PASSWORD)

    login, request = AuditLog.objects.order_by("id")
    assert login.request_id == request.request_id
    assert (login.resource, login.ip_address) == ("/admin/login/", "127.0.0.1")


def test_a_failed_sign_in_names_the_account_and_not_the_password(client, make_user):
    user = make_user("alice", "auditor")

    sign_in(client, "alice", "wrong-password-typed")

    assert events() == [("LOGIN_FAILED", "anonymous", user.pk, "alice")]
    assert not AuditLog.objects.filter(request_data__contains="wrong-password-typed").exists()


def test_a_name_that_is_no_account_is_not_kept(client):
    sign_in(client, "hunter2-typed-in-the-wrong-field", "x")

    assert events() == [("LOGIN_FAILED", "anonymous", None, "")]
    request = AuditLog.objects.get(method="POST")
    assert "hunter2" not in request.request_data


@pytest.mark.parametrize(
    "header",
    [
        "Token cc_not-a-token",
        "Token",
        "Token two words",
        "Token \xff\xfe",
    ],
)
def test_a_refused_token_is_recorded_without_it(header):
    answer = APIClient(HTTP_AUTHORIZATION=header).get("/audit/logs")

    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "authentication_failed"
    failed = AuditLog.objects.get(action="LOGIN_FAILED")
    assert (failed.actor_type, failed.status_code) == ("anonymous", 401)
    assert "cc_not" not in failed.details


def test_an_expired_token_is_refused_and_recorded(make_user, token_of):
    token = token_of(make_user("alice", "auditor"), expiry=timedelta(seconds=-1))

    answer = APIClient(HTTP_AUTHORIZATION=f"Token {token}").get("/audit/logs")

    assert answer.status_code == 401
    assert AuditLog.objects.filter(action="LOGIN_FAILED").count() == 1


def test_nobody_at_all_is_refused_without_a_failed_sign_in():
    answer = APIClient().get("/audit/logs")

    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "not_authenticated")
    assert not AuditLog.objects.filter(action="LOGIN_FAILED").exists()


def test_repeated_failures_lock_the_account_out_for_that_address(client, make_user):
    make_user("alice", "auditor")
    for _ in range(5):
        sign_in(client, "alice", "wrong")

    answer = sign_in(client, "alice", PASSWORD)

    assert answer.status_code == 429
    assert not AuditLog.objects.filter(action="LOGIN").exists()

import pytest
from django.contrib.auth.models import User

from audit.models import AuditLog
from compliance_site.foundation.roles import PEOPLE, Role
from tests.conftest import PASSWORD

pytestmark = pytest.mark.django_db


def sign_in(client, username, password=PASSWORD):
    return client.post(
        "/admin/login/", {"username": username, "password": password, "next": "/admin/"}
    )


def text_of(answer):
    return answer.content.decode()


@pytest.mark.parametrize("role", PEOPLE)
def test_people_with_a_role_sign_in_without_a_staff_flag(client, make_user, role):
    make_user("alice", role)

    answer = sign_in(client, "alice")

    assert (answer.status_code, answer.url) == (302, "/admin/")
    assert client.get("/admin/").status_code == 200


def test_a_superuser_signs_in(client):
    User.objects.create_superuser("root", password=PASSWORD)

    assert sign_in(client, "root").status_code == 302


@pytest.mark.parametrize("roles", [(), (Role.SERVICE,)])
def test_services_and_accounts_without_a_role_are_refused_alike(client, make_user, roles):
    make_user("trading-api", *roles, is_staff=True)

    answer = sign_in(client, "trading-api")

    assert answer.status_code == 200
    assert "This account cannot open the console." in text_of(answer)
    assert client.get("/admin/").status_code == 302


def test_a_refused_account_is_recorded_as_a_failed_sign_in(client, make_user):
    service = make_user("trading-api", Role.SERVICE)

    sign_in(client, "trading-api")

    failed = AuditLog.objects.get(action="LOGIN_FAILED")
    assert (failed.actor, failed.user_id) == ("trading-api", service.pk)


def test_a_wrong_password_is_refused_with_what_to_do(client, make_user):
    make_user("alice", Role.AUDITOR)

    answer = sign_in(client, "alice", "wrong")

    assert "Check both" in text_of(answer)
    assert "wrong" not in text_of(answer)


def test_five_failures_lock_the_sign_in_with_a_page_that_says_so(client, make_user):
    make_user("alice", Role.AUDITOR)
    for _ in range(5):
        answer = sign_in(client, "alice", "wrong")

    assert answer.status_code == 429
    assert "Sign-in is locked for now" in text_of(answer)
    assert "Wait 15 minutes" in text_of(answer)
    assert sign_in(client, "alice").status_code == 429


def test_signing_out_takes_a_post(client_as):
    browser = client_as(Role.AUDITOR)

    assert browser.get("/admin/logout/").status_code == 405
    assert "You are signed out" in text_of(browser.post("/admin/logout/"))
    assert browser.get("/admin/").status_code == 302

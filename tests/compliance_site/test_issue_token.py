import json
from io import StringIO

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from knox.models import AuthToken
from rest_framework.test import APIClient

from audit.models import AuditLog
from compliance_site.foundation.roles import Role, roles_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("actor")]


def issue(*arguments):
    output = StringIO()
    call_command("issue_token", *arguments, stdout=output)
    return output.getvalue()


def test_it_prints_only_a_token_that_works():
    token = issue("alice", "--role", "auditor")

    assert token == f"{token.strip()}\n"
    client = APIClient(HTTP_AUTHORIZATION=f"Token {token.strip()}")
    assert client.get("/audit/logs").status_code == 200


def test_the_user_is_made_without_a_password_and_kept_the_second_time():
    issue("alice", "--role", "auditor")
    issue("alice", "--role", "operator")

    alice = User.objects.get()
    assert not alice.has_usable_password()
    assert roles_of(alice) == {Role.AUDITOR, Role.OPERATOR}
    assert AuthToken.objects.count() == 2


def test_an_administrator_has_every_role_of_people():
    issue("root", "--role", "admin")

    assert roles_of(User.objects.get()) == {Role.AUDITOR, Role.SECURITY_OFFICER, Role.OPERATOR}


def test_issuing_is_recorded_without_the_token():
    token = issue("alice", "--role", "auditor").strip()

    log = AuditLog.objects.get(action="ISSUE_TOKEN")
    assert (log.actor_type, log.resource) == ("command", "user/alice")
    assert json.loads(log.details) == {"role": "auditor", "madeUser": True}
    assert token not in f"{log.__dict__}"


def test_the_days_bound_the_token():
    issue("alice", "--role", "auditor", "--days", "2")

    token = AuthToken.objects.get()
    assert (token.expiry - token.created).days in {1, 2}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["alice"], "--role"),
        (["alice", "--role", "king"], "king"),
        (["alice", "--role", "auditor", "--days", "0"], "--days"),
        (["nul\0", "--role", "auditor"], "username"),
        (["", "--role", "auditor"], "username"),
        (["a" * 151, "--role", "auditor"], "username"),
    ],
)
def test_bad_arguments_are_named_and_nothing_is_made(arguments, message):
    with pytest.raises(CommandError, match=message):
        issue(*arguments)

    assert not User.objects.exists()
    assert not AuthToken.objects.exists()

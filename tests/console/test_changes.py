import json

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, User
from knox.models import AuthToken

from audit.models import AuditLog
from compliance_site.console.changes import AuditedAdmin
from tests.conftest import PASSWORD

pytestmark = pytest.mark.django_db


def changes():
    logs = AuditLog.objects.exclude(action__in=["READ", "LOGIN"]).filter(method="").order_by("id")
    return [(log.action, log.resource, json.loads(log.details)) for log in logs]


def user_form(user, **overrides):
    return {
        "username": user.username,
        "first_name": "",
        "last_name": "",
        "email": "",
        "is_active": "on",
        "date_joined_0": "2025-11-09",
        "date_joined_1": "10:30:00",
        "initial-date_joined_0": "2025-11-09",
        "initial-date_joined_1": "10:30:00",
    } | overrides


def test_a_change_is_recorded_with_the_values_before_and_after(client_as, make_user):
    client = client_as("admin")
    user = make_user("alice", "auditor")
    officers = Group.objects.get(name="security_officer")

    answer = client.post(
        f"/admin/auth/user/{user.pk}/change/",
        user_form(user, email="alice@example.org", groups=[officers.pk]),
    )

    assert answer.status_code == 302
    ((action, resource, details),) = changes()
    assert (action, resource) == ("UPDATE", f"auth.User/{user.pk}")
    assert details["object"] == "alice"
    assert details["changes"]["email"] == {"before": "", "after": "alice@example.org"}
    assert details["changes"]["groups"] == {"before": ["auditor"], "after": ["security_officer"]}


def test_an_addition_is_recorded_without_the_password(client_as):
    client = client_as("admin")

    client.post(
        "/admin/auth/user/add/",
        {
            "username": "bob",
            "usable_password": "true",
            "password1": PASSWORD,
            "password2": PASSWORD,
        },
    )

    bob = User.objects.get(username="bob")
    ((action, resource, _),) = changes()
    assert (action, resource) == ("CREATE", f"auth.User/{bob.pk}")
    everything = "".join(
        log.details + log.request_data + log.query for log in AuditLog.objects.all()
    )
    assert "battery" not in everything


def test_a_deletion_by_the_list_action_is_recorded_for_each_object(client_as, make_user):
    client = client_as("admin")
    users = [make_user("alice"), make_user("bob")]

    client.post(
        "/admin/auth/user/",
        {
            "action": "delete_selected",
            "_selected_action": [user.pk for user in users],
            "post": "yes",
        },
    )

    assert {(action, resource) for action, resource, _ in changes()} == {
        ("DELETE", f"auth.User/{user.pk}") for user in users
    }


def test_a_change_that_is_rolled_back_is_not_recorded(client_as, make_user, monkeypatch):
    client = client_as("admin")
    user = make_user("alice")

    def fail(*args, **kwargs):
        raise OSError("while the response is made")

    monkeypatch.setattr("django.contrib.auth.admin.UserAdmin.response_change", fail)
    client.raise_request_exception = False
    answer = client.post(f"/admin/auth/user/{user.pk}/change/", user_form(user, email="x@y.org"))

    assert answer.status_code == 500
    assert User.objects.get(pk=user.pk).email == ""
    assert changes() == []


def test_every_registered_admin_class_is_audited():
    assert all(
        isinstance(model_admin, AuditedAdmin) for model_admin in admin.site._registry.values()
    )


def test_tokens_have_no_page_that_could_show_one():
    assert AuthToken not in admin.site._registry

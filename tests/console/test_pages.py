import re

import pytest
from django.contrib.auth.models import User
from django.test import Client, RequestFactory

from compliance_site.foundation.api.errors import server_error
from compliance_site.foundation.roles import Role

pytestmark = pytest.mark.django_db


def text_of(answer):
    return answer.content.decode()


def rail_of(answer):
    rail = text_of(answer).split('<nav aria-label="Sections">')[1].split("</nav>")[0]
    return re.findall(r'<a href="([^"]+)"( aria-current="page")?>([^<]+)<', rail)


SECRETS = ["Secrets", "Calendar", "Runs", "Grace", "Break-glass", "Policies"]
RECOVERY = ["Health", "Backups", "Point in time", "Restores"]
ADMINISTRATION = ["Users", "Groups", "Schedules"]


@pytest.mark.parametrize(
    ("role", "labels"),
    [
        (Role.OPERATOR, ["Home", *SECRETS, *RECOVERY, "Notices", "Documentation"]),
        (Role.AUDITOR, ["Home", "Log", *SECRETS, *RECOVERY, "Documentation"]),
        (Role.SECURITY_OFFICER, ["Home", "Log", *SECRETS, *RECOVERY, "Notices", "Documentation"]),
        (
            "admin",
            ["Home", "Log", *SECRETS, *RECOVERY, "Notices", *ADMINISTRATION, "Documentation"],
        ),
    ],
)
def test_the_rail_shows_what_the_role_may_open(client_as, role, labels):
    browser = client_as(role)

    links = rail_of(browser.get("/admin/"))

    assert [label for _, _, label in links] == labels
    assert all(browser.get(url).status_code == 200 for url, _, _ in links)


@pytest.mark.parametrize(
    ("path", "label"),
    [
        ("/admin/audit/auditlog/?action=READ", "Log"),
        ("/admin/secrets_rotation/secret/", "Secrets"),
        ("/admin/secrets_rotation/secret/calendar/", "Calendar"),
        ("/admin/secrets_rotation/breakglass/", "Break-glass"),
        ("/admin/recovery/backup/point-in-time/", "Point in time"),
    ],
)
def test_the_rail_marks_the_page_that_is_open(client_as, path, label):
    links = rail_of(client_as(Role.AUDITOR).get(path))

    assert [label for _, current, label in links if current] == [label]


@pytest.mark.parametrize(
    "path",
    [
        "/admin/login/",
        "/admin/",
        "/admin/audit/auditlog/",
        "/admin/audit/auditlog/?statusCode=x",
        "/admin/auth/",
        "/admin/auth/user/",
        "/admin/auth/user/add/",
        "/admin/auth/group/add/",
        "/admin/notices/notice/",
        "/admin/auth/user/{user}/change/",
        "/admin/auth/user/{user}/password/",
        "/admin/auth/user/{user}/delete/",
        "/admin/auth/user/{user}/history/",
        "/admin/django_celery_beat/periodictask/",
        "/admin/django_celery_beat/periodictask/add/",
        "/admin/password_change/",
        "/admin/nothing-here/",
        "/api/docs",
    ],
)
def test_no_page_needs_what_the_security_policy_forbids(client_as, path):
    browser = client_as("admin") if path != "/admin/login/" else Client()
    root = User.objects.filter(username="root").first()

    page = text_of(browser.get(path.format(user=root and root.pk), follow=True))

    assert re.findall(r"<style|\sstyle=|\son[a-z]+=\"|<script(?![^>]*\ssrc=)[^>]*>", page) == []
    assert re.findall(r"(?:src|href)=\"(?:https?:)?//[^\"]+", page) == []
    assert page.count("<h1") <= 1
    assert '<html lang="en">' in page
    assert "<title>" in page
    assert "<title></title>" not in page


def test_home_says_how_much_is_recorded(client_as):
    # The sign-in itself is the first entry.
    page = text_of(client_as(Role.SECURITY_OFFICER).get("/admin/"))

    assert re.search(r"<h1>Recording: 1 entry today, the last one \d s ago</h1>", page)


def test_home_of_an_operator_has_no_figure_of_the_log(client_as, make_log):
    make_log()

    answer = client_as(Role.OPERATOR).get("/admin/")

    assert answer.context["overview"] is None
    assert "<h1>Signed in as operator-person</h1>" in text_of(answer)


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.AUDITOR])
def test_home_says_how_the_secrets_stand(client_as, role):
    assert "no secret is registered" in text_of(client_as(role).get("/admin/"))


def test_home_costs_few_queries(client_as, make_log, django_assert_max_num_queries):
    browser = client_as(Role.AUDITOR)

    # Session, user, roles, six figures of the log, two of the secrets, permissions, the
    # request's own entry.
    with django_assert_max_num_queries(15):
        browser.get("/admin/")


def test_a_page_for_another_role_says_so(client_as):
    answer = client_as(Role.AUDITOR).get("/admin/auth/user/")

    assert answer.status_code == 403
    assert "This page is not for your role" in text_of(answer)


def test_a_form_without_its_token_says_what_happened(make_user):
    browser = Client(enforce_csrf_checks=True)

    answer = browser.post("/admin/login/", {"username": "alice", "password": "x"})

    assert answer.status_code == 403
    assert "This form is no longer valid" in text_of(answer)


def test_the_page_of_a_failure_needs_nothing_that_may_have_failed():
    answer = server_error(RequestFactory().get("/admin/"))

    assert answer.status_code == 500
    assert "The console failed to answer" in text_of(answer)

"""Walk every address of the console: what nobody allowed, everybody is refused.

A new address without a rule here fails `test_every_address_has_a_rule`.
"""

from datetime import timedelta

import pytest
from django.urls import URLResolver, get_resolver
from django.urls.resolvers import RegexPattern
from rest_framework.test import APIClient

from compliance_site.foundation.roles import Role

pytestmark = pytest.mark.django_db

ELSEWHERE = {"REMOTE_ADDR": "203.0.113.9"}
# What health says to whom: tests/recovery/api/test_health.py.
HEALTH = {"/health", "/health/ready", "/health/detailed", "/health/database", "/health/redis"}
OPEN = {*HEALTH, "/admin/login/"}
PEOPLE_AND_ADMIN = {Role.AUDITOR, Role.SECURITY_OFFICER, Role.OPERATOR, "admin"}
OFFICERS = {Role.SECURITY_OFFICER, "admin"}
OPERATORS = {Role.OPERATOR, "admin"}
# Address of the API: the roles that may, beside `admin` where people may.
API_ROLES = {
    "/audit/logs": {Role.AUDITOR, Role.SECURITY_OFFICER, "admin"},
    "/audit/logs/1": {Role.AUDITOR, Role.SECURITY_OFFICER, "admin"},
    "/audit/export": {Role.AUDITOR, Role.SECURITY_OFFICER, "admin"},
    "/audit/stats": {Role.AUDITOR, Role.SECURITY_OFFICER, "admin"},
    "/audit/events": {Role.SERVICE},
    "/audit/redaction/lookup": {Role.SECURITY_OFFICER, "admin"},
    "/secrets": PEOPLE_AND_ADMIN,
    "/secrets/1": PEOPLE_AND_ADMIN,
    "/secrets/1/consumers": PEOPLE_AND_ADMIN,
    "/secrets/1/consumers/1": OFFICERS,
    "/secrets/1/consumers/1/acknowledgements": OFFICERS | {Role.SERVICE},
    "/secrets/rotation/schedule": PEOPLE_AND_ADMIN,
    "/secrets/rotation/rotate": OFFICERS,
    "/secrets/rotation/history": PEOPLE_AND_ADMIN,
    "/secrets/rotation/policy": PEOPLE_AND_ADMIN,
    "/secrets/rotation/policy/preview": PEOPLE_AND_ADMIN,
    "/secrets/rotation/runs/1": PEOPLE_AND_ADMIN,
    "/secrets/rotation/runs/1/usages": PEOPLE_AND_ADMIN,
    "/secrets/rotation/runs/1/resume": OFFICERS,
    "/secrets/rotation/runs/1/roll-back": OFFICERS,
    "/secrets/rotation/runs/1/revoke": OFFICERS,
    "/secrets/rotation/runs/1/adopt": OFFICERS,
    "/secrets/break-glass": PEOPLE_AND_ADMIN,
    "/secrets/break-glass/1": PEOPLE_AND_ADMIN,
    "/secrets/break-glass/1/approve": OFFICERS,
    "/secrets/break-glass/1/reject": OFFICERS,
    "/backups": PEOPLE_AND_ADMIN,
    "/backups/1": PEOPLE_AND_ADMIN,
    "/backups/1/verify": OPERATORS,
    "/backups/1/pin": OPERATORS,
    "/backups/1/download": OPERATORS,
    "/backups/1/restore-plan": OPERATORS,
    "/metrics": {Role.OPERATOR, "admin"},
    "/api/schema": {*Role, "admin"},
    "/api/docs": {*Role, "admin"},
}
# Of these, people read and only officers write.
WRITTEN_BY_OFFICERS = {
    "/secrets",
    "/secrets/1",
    "/secrets/1/consumers",
    "/secrets/break-glass",
    "/secrets/rotation/policy",
}
# Of these, people read and only operators write.
WRITTEN_BY_OPERATORS = {"/backups"}
CALLERS = (*Role, "admin")
SAMPLES = {"int": "1", "path": "1", "str": "1", "slug": "1"}
# Admin pages that every person may open; all others need a right of their own.
ADMIN_FOR_ALL = {
    "/admin/",
    "/admin/logout/",
    "/admin/password_change/",
    "/admin/password_change/done/",
    "/admin/autocomplete/",
    "/admin/jsi18n/",
    "/admin/recovery/healthsample/",
}


def addresses(patterns=None, prefix="/"):
    for pattern in patterns or get_resolver().url_patterns:
        if isinstance(pattern.pattern, RegexPattern):
            continue  # the admin's app pages and its catch-all, both inside admin_view
        text = prefix + sample(str(pattern.pattern))
        if isinstance(pattern, URLResolver):
            yield from addresses(pattern.url_patterns, text)
        else:
            yield text


def sample(route):
    while "<" in route:
        head, _, rest = route.partition("<")
        parameter, _, tail = rest.partition(">")
        kind = parameter.partition(":")[0] if ":" in parameter else "str"
        route = head + SAMPLES[kind] + tail
    return route


ALL = sorted(set(addresses()))
ADMIN = [address for address in ALL if address.startswith("/admin/") and address not in OPEN]
ROTATION_ADMIN = [address for address in ADMIN if address.startswith("/admin/secrets_rotation/")]
# Pages of rotation by which something is done; all others are there to be read.
ROTATION_ACTS = ("add", "ask", "edit", "retire", "rotate", "1/1")
RECOVERY_ADMIN = [address for address in ADMIN if address.startswith("/admin/recovery/")]
# Pages of recovery by which something is done, or taken away.
RECOVERY_ACTS = ("back-up", "verify", "pin", "unpin", "download", "restore", "1/1")
AUDIT_ADMIN = [address for address in ADMIN if address.startswith("/admin/audit/")]


def call(client, address):
    """Try all methods; an address may admit one and forget another."""
    for method in ("get", "post", "put", "patch", "delete"):
        yield getattr(client, method)(address, **ELSEWHERE)


def is_refusal(answer):
    if answer.status_code == 302:
        # Signing out sends nobody to the home page, which sends them to sign in.
        return answer.headers["Location"] == "/admin/" or answer.headers["Location"].startswith(
            "/admin/login/"
        )
    # 405: the address has no such method, for anybody.
    return answer.status_code in {401, 403, 405}


def is_refused(client, address):
    answers = list(call(client, address))
    assert any(answer.status_code != 405 for answer in answers)
    return all(is_refusal(answer) for answer in answers)


def test_every_address_has_a_rule():
    ruled = OPEN | set(API_ROLES) | set(ADMIN) | {"/"}

    assert set(ALL) - ruled == set()
    assert set(API_ROLES) <= set(ALL)


@pytest.mark.parametrize("address", [*API_ROLES, *ADMIN])
def test_an_anonymous_caller_is_refused(address):
    assert is_refused(APIClient(), address)


@pytest.mark.parametrize("address", [*API_ROLES, *ADMIN])
def test_an_expired_token_is_refused(address, make_user, token_of):
    user = make_user("root", is_superuser=True)
    token = token_of(user, expiry=timedelta(seconds=-1))

    assert is_refused(APIClient(HTTP_AUTHORIZATION=f"Token {token}"), address)


@pytest.mark.parametrize("address", [*API_ROLES, *ADMIN])
def test_a_user_without_role_is_refused(address, client, make_user):
    client.force_login(make_user(), backend="django.contrib.auth.backends.ModelBackend")

    assert is_refused(client, address)


@pytest.mark.parametrize("address", API_ROLES)
@pytest.mark.parametrize("caller", CALLERS)
def test_the_api_admits_its_roles_and_refuses_the_others(address, caller, make_user, token_of):
    if caller == "admin":
        user = make_user("root", is_superuser=True)
    else:
        user = make_user("somebody", caller)
    client = APIClient(HTTP_AUTHORIZATION=f"Token {token_of(user)}")

    answers = list(call(client, address))
    if address in WRITTEN_BY_OFFICERS and caller not in OFFICERS:
        assert {answer.status_code for answer in answers[1:]} <= {403, 405}
        answers = answers[:1]
    if address in WRITTEN_BY_OPERATORS and caller not in OPERATORS:
        assert {answer.status_code for answer in answers[1:]} <= {403, 405}
        answers = answers[:1]
    statuses = {answer.status_code for answer in answers}

    if caller in API_ROLES[address]:
        assert statuses <= {200, 400, 404, 405}
        assert statuses != {405}
    else:
        assert statuses <= {403, 405}
        assert 403 in statuses


@pytest.mark.parametrize("address", ADMIN)
def test_a_service_account_never_gets_into_the_admin(address, client_as):
    assert is_refused(client_as(Role.SERVICE), address)


@pytest.mark.parametrize("address", AUDIT_ADMIN)
def test_an_operator_is_refused_the_log_in_the_admin(address, client_as):
    answers = [answer.status_code for answer in call(client_as(Role.OPERATOR), address)]

    # 302: an old address of Django's that only points to the entry's own.
    assert set(answers) <= {302, 403, 405}


@pytest.mark.parametrize(
    "address",
    [
        a
        for a in ADMIN
        if a not in ADMIN_FOR_ALL and a not in (*AUDIT_ADMIN, *ROTATION_ADMIN, *RECOVERY_ADMIN)
    ],
)
def test_people_are_refused_the_administration(address, client_as):
    # A view that names an object of the model still refuses before it looks the object up.
    answers = [answer.status_code for answer in call(client_as(Role.AUDITOR), address)]

    assert 200 not in answers


@pytest.mark.parametrize("address", ROTATION_ADMIN)
@pytest.mark.parametrize("role", [Role.AUDITOR, Role.OPERATOR])
def test_only_officers_may_do_something_in_rotations_admin(address, role, client_as):
    browser = client_as(role)
    get, *others = [answer.status_code for answer in call(browser, address)]

    if address.rstrip("/").endswith(ROTATION_ACTS):
        assert {get, *others} == {403}
    else:
        assert get in {200, 404}
        assert 302 not in others


@pytest.mark.parametrize("address", RECOVERY_ADMIN)
@pytest.mark.parametrize("role", [Role.AUDITOR, Role.SECURITY_OFFICER])
def test_only_operators_may_do_something_in_recoverys_admin(address, role, client_as):
    browser = client_as(role)
    get, *others = [answer.status_code for answer in call(browser, address)]

    if address.rstrip("/").endswith(RECOVERY_ACTS):
        assert {get, *others} == {403}
    else:
        assert get in {200, 404}
        assert 302 not in others


def test_a_signed_in_person_may_use_the_api_from_the_browser(client_as):
    assert client_as(Role.AUDITOR).get("/audit/logs").status_code == 200


def test_metrics_are_open_to_the_detail_networks_only(client):
    assert client.get("/metrics").status_code == 200
    assert client.get("/metrics", **ELSEWHERE).status_code == 401


def test_metrics_trust_no_header_of_a_client(client):
    answer = client.get("/metrics", headers={"X-Forwarded-For": "127.0.0.1"}, **ELSEWHERE)

    assert answer.status_code == 401


def test_an_inactive_account_is_refused(client, make_user, token_of):
    user = make_user("gone", Role.AUDITOR)
    token = token_of(user)
    user.is_active = False
    user.save()

    assert is_refused(APIClient(HTTP_AUTHORIZATION=f"Token {token}"), "/audit/logs")

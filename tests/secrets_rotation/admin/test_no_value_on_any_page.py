"""Walk every page of rotation with values, credentials and fingerprints behind it."""

import re

import pytest
from django.test import Client

from compliance_site.foundation.roles import Role
from compliance_site.foundation.secret_text import SecretText
from secrets_rotation.admin.decision import DECISIONS
from secrets_rotation.models import (
    Acknowledgement,
    ConsumerCredential,
    Delivery,
    Run,
    RunState,
    Version,
)
from tests.secrets_rotation.admin.conftest import MARKER, text_of

pytestmark = pytest.mark.django_db

BASE = "/admin/secrets_rotation"
# What the content security policy forbids, or what would load from elsewhere.
FORBIDDEN = (
    r"<style|\sstyle=|\son[a-z]+=\"|<script(?![^>]*\ssrc=)[^>]*>|(?:src|href)=\"(?:https?:)?//"
)


@pytest.fixture
def everything(rotated, make_consumer, store_credential, paper_of):
    """A secret in its grace, one that needs a person, one that ended; all with values."""
    grace, halted = rotated("in_grace", times=2), rotated("halted", times=2)
    rotated("ended")
    Run.objects.filter(pk=halted.pk).update(
        state=RunState.ATTENTION, halted_in=RunState.SETTING, reason="It does not answer."
    )
    store_credential(grace.secret)
    consumer = make_consumer(grace.secret)
    credential = ConsumerCredential(consumer=consumer)
    credential.seal(SecretText(f'{{"token": "{MARKER}-consumer"}}'))
    credential.save(force_insert=True)
    Delivery.objects.create(consumer=consumer, version=grace.version, error="It answered 503.")
    Acknowledgement.objects.create(
        consumer=consumer, version=grace.version, actor_type="user", actor="olivia"
    )
    paper_of(grace.secret).sessions.append("4711")
    return grace, halted


def addresses(grace, halted):
    secret, run = grace.secret_id, grace.pk
    yield from ("/admin/", f"{BASE}/", f"{BASE}/secret/", f"{BASE}/secret/calendar/")
    yield from (f"{BASE}/secret/add/", f"{BASE}/secret/add/?rotator=paper")
    yield from (
        f"{BASE}/secret/{number}/{page}/"
        for number in (secret, halted.secret_id)
        for page in ("change", "edit", "retire", "rotate")
    )
    yield from (f"{BASE}/run/", f"{BASE}/run/grace/", f"{BASE}/run/{run}/change/?sessions=1")
    yield from (f"{BASE}/run/{halted.pk}/change/", f"{BASE}/run/{run}/live/")
    yield f"{BASE}/run/{run}/end-grace/"
    yield from (f"{BASE}/run/{halted.pk}/{name}/" for name in DECISIONS if name != "end-grace")
    yield from (f"{BASE}/policy/", f"{BASE}/policy/DATABASE/change/")


def test_no_page_shows_a_value_a_credential_or_a_fingerprint(officer, everything):
    fingerprints = list(Version.objects.values_list("fingerprint", flat=True))
    assert len(fingerprints) == 5

    for address in addresses(*everything):
        answer = officer.get(address)

        page = text_of(answer)
        assert answer.status_code == 200, address
        assert MARKER not in page, address
        assert not [each for each in fingerprints if each in page], address
        assert re.findall(FORBIDDEN, page) == [], address
        assert page.count("<h1") == 1, address


@pytest.mark.parametrize("role", [Role.AUDITOR, Role.OPERATOR])
def test_others_see_the_state_and_no_page_that_acts(client_as, everything, role):
    browser = client_as(role)
    acting = re.compile(r"/(add|edit|retire|rotate|end-grace|resume|adopt|roll-back)/")

    for address in addresses(*everything):
        expected = 403 if acting.search(address) else 200
        assert browser.get(address).status_code == expected, address


def test_a_form_without_its_token_changes_nothing(everything, make_user):
    grace, _ = everything
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(
        make_user("olga", Role.SECURITY_OFFICER),
        backend="django.contrib.auth.backends.ModelBackend",
    )

    form = {"name": grace.secret.name}
    for page in (f"run/{grace.pk}/end-grace", f"secret/{grace.secret_id}/retire"):
        assert browser.post(f"{BASE}/{page}/", form).status_code == 403
    grace.refresh_from_db()
    assert grace.state == RunState.GRACE


@pytest.mark.parametrize(
    "address",
    [
        "secret/99999999999999999999/change/",
        "secret/0/rotate/",
        "run/99999999999999999999/live/",
        "policy/%00/change/",
        "policy/DATABASE%00/change/",
    ],
)
def test_an_address_of_nothing_is_not_found(officer, address):
    assert officer.get(f"{BASE}/{address}").status_code == 404


@pytest.mark.parametrize("query", ["q=%00", "type=%00", "tag=%00", "page=0", "page=x", "status=x"])
def test_a_query_of_nonsense_is_answered(officer, query):
    for page in ("secret/", "secret/calendar/", "run/", "run/grace/", "policy/"):
        assert officer.get(f"{BASE}/{page}?{query}").status_code == 200

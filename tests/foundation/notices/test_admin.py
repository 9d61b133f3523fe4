import re

import pytest

from compliance_site.foundation.notices.models import Notice
from compliance_site.foundation.roles import Role

pytestmark = pytest.mark.django_db

LIST = "/admin/notices/notice/"


@pytest.fixture
def notice(receiver, say):
    say()
    return Notice.objects.get()


@pytest.mark.parametrize("role", [Role.SECURITY_OFFICER, Role.OPERATOR, "admin"])
def test_security_officers_and_operators_see_notices_and_change_none(client_as, role, notice):
    browser = client_as(role)

    listing = browser.get(LIST).content.decode()
    entry = browser.get(f"{LIST}{notice.pk}/change/").content.decode()

    assert "The disk is full" in listing
    assert "waiting" in listing.lower()
    assert "Nothing can be written to /var." in entry
    assert not re.search(r'name="(_save|_selected_action|subject)"', listing + entry)
    for path in (f"{LIST}add/", f"{LIST}{notice.pk}/delete/"):
        assert browser.post(path).status_code == 403
    assert browser.post(f"{LIST}{notice.pk}/change/", {"subject": "x"}).status_code == 403


@pytest.mark.parametrize("path", [LIST, LIST + "{pk}/change/", LIST + "{pk}/history/"])
def test_an_auditor_is_refused(client_as, notice, path):
    assert client_as(Role.AUDITOR).get(path.format(pk=notice.pk)).status_code == 403


def test_notices_are_found_by_state_and_subject(client_as, notice):
    browser = client_as(Role.OPERATOR)

    assert "The disk is full" in browser.get(LIST + "?state__exact=waiting&q=disk").content.decode()
    assert "The disk is full" not in browser.get(LIST + "?state__exact=sent").content.decode()

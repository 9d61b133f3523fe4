import pytest

from compliance_site.foundation.roles import Role
from recovery.backups import catalogue
from tests.recovery.admin.test_backups import LIST, text_of

pytestmark = pytest.mark.django_db


def test_a_missing_backup_is_called_that_and_cannot_be_restored(client_as, backup, places):
    for place in places:
        (place / "orders" / f"{backup.pk}.tar.age").unlink()
    catalogue.refresh()

    browser = client_as(Role.OPERATOR)
    shown = text_of(browser.get(f"{LIST}{backup.pk}/change/"))

    assert "Missing: this backup of orders was taken away, and not by retention" in shown
    assert "Its sealed file is not there any more, its manifest is." in shown
    assert "Restore…" not in shown
    assert "1 backup match" in text_of(browser.get(f"{LIST}?state=missing"))

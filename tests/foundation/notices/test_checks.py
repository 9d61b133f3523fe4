import pytest

from compliance_site.foundation.notices.checks import webhook_can_be_signed


@pytest.mark.parametrize("key", ["", "short", "whsec_c2hvcnQ="])
def test_a_webhook_without_a_key_that_signs_is_reported(settings, key):
    settings.NOTICE_WEBHOOK_URL = "https://hooks.example.org/"
    settings.NOTICE_WEBHOOK_SECRET = key

    (error,) = webhook_can_be_signed()

    assert error.id == "notices.E001"
    assert not key or key not in str(error)


def test_no_webhook_needs_no_key(settings):
    assert webhook_can_be_signed() == []

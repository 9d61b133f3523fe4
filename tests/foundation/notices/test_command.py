from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from compliance_site.foundation.notices.models import Notice

pytestmark = pytest.mark.django_db


def test_it_says_how_each_channel_went(mail_server, receiver, apprise_receiver):
    receiver.status = 401
    out = StringIO()

    with pytest.raises(CommandError, match="1 of 3 channels failed"):
        call_command("send_test_notice", stdout=out)

    assert out.getvalue().splitlines() == [
        "email: sent.",
        "webhook: The receiver answered 401.",
        "apprise-1: sent.",
    ]
    assert mail_server.mails[0]["Subject"] == "Test notice of the compliance console"
    assert not Notice.objects.exists()


def test_it_ends_well_when_all_went_well(mail_server):
    call_command("send_test_notice", stdout=StringIO())


def test_without_a_channel_it_names_the_settings():
    with pytest.raises(CommandError, match="NOTICE_EMAIL_TO"):
        call_command("send_test_notice")

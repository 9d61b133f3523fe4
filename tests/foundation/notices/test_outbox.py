import pytest
from django.db import IntegrityError, transaction

from compliance_site.foundation.notices.models import Notice, NoticeState, Urgency
from compliance_site.foundation.notices.outbox import notify

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def channels(settings):
    settings.NOTICE_EMAIL_TO = ["ops@example.org"]
    settings.NOTICE_WEBHOOK_URL = "https://hooks.example.org/"
    settings.NOTICE_APPRISE_URLS = ["json://one", "json://two"]


def test_a_notice_waits_once_for_each_configured_channel(say):
    say(urgency=Urgency.URGENT)
    say(subject="Said again")

    assert sorted(Notice.objects.values_list("channel", "subject", "urgency", "state")) == [
        (channel, "The disk is full", "urgent", "waiting")
        for channel in ("apprise-1", "apprise-2", "email", "webhook")
    ]


def test_another_key_is_another_notice(say):
    say()
    say("disk-full-2")

    assert Notice.objects.count() == 8


def test_a_channel_that_is_configured_later_gets_what_is_said_again(say, settings):
    settings.NOTICE_APPRISE_URLS = []
    say()
    settings.NOTICE_APPRISE_URLS = ["json://one"]
    say()

    assert Notice.objects.filter(channel="apprise-1").count() == 1
    assert Notice.objects.count() == 3


def test_it_is_said_only_if_the_callers_transaction_commits(say):
    with transaction.atomic():
        say()
        transaction.set_rollback(True)

    assert not Notice.objects.exists()


def test_without_a_channel_it_is_shown_in_the_console_and_logged_once(say, settings, caplog):
    settings.NOTICE_EMAIL_TO = settings.NOTICE_APPRISE_URLS = []
    settings.NOTICE_WEBHOOK_URL = ""

    say()
    say()

    notice = Notice.objects.get()
    assert (notice.channel, notice.state) == ("console", NoticeState.SENT)
    assert notice.sent_at is not None
    assert [record.getMessage() for record in caplog.records] == [
        "No channel carries notices; see the console: The disk is full"
    ]


def test_a_subject_is_one_short_line(say):
    say(subject="Full\r\nBcc: everyone@example.org\x07\u2028\t" + "x" * 500)

    subject = Notice.objects.filter(channel="email").get().subject
    assert subject.startswith("Full Bcc: everyone@example.org xxx")
    assert len(subject) == 200


def test_what_looks_like_a_secret_is_redacted():
    notify(
        "leak", key="k", subject="password=hunter2hunter2", body="Bearer abcdefghijklmnop1234567"
    )

    notice = Notice.objects.filter(channel="email").get()
    assert "hunter2" not in notice.subject
    assert "abcdefghijklmnop" not in notice.body


def test_a_state_without_its_time_is_refused_by_the_database(say):
    say()

    with pytest.raises(IntegrityError), transaction.atomic():
        Notice.objects.update(state=NoticeState.SENT)

import json
import logging
import os
import signal
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connection
from django.db.models import F
from django.db.models.functions import Now

from compliance_site.foundation.notices import sending
from compliance_site.foundation.notices.models import Notice, NoticeState
from compliance_site.foundation.notices.sending import send_waiting, take, wait_after
from compliance_site.foundation.notices.tasks import send_waiting as task
from compliance_site.foundation.secret_text import SecretText
from compliance_site.foundation.webhook import verify
from tests.foundation.notices.conftest import KEY
from tests.local_servers import HttpServer, RawServer, SmtpServer, serving

ROOT = Path(__file__).resolve().parents[3]


def make_due():
    Notice.objects.update(next_attempt_at=Now() - timedelta(seconds=1))


@pytest.mark.django_db
def test_mail_arrives_with_the_notices_id(mail_server, say):
    say(subject="Schlüssel überfällig")

    assert send_waiting() == 1

    notice = Notice.objects.get()
    (mail,) = mail_server.mails
    assert mail["Subject"] == "Schlüssel überfällig"
    assert mail["To"] == "ops@example.org, night@example.org"
    assert mail["From"] == "console@example.org"
    assert mail["Message-ID"] == f"<{notice.pk}@compliance-console>"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail.get_content().startswith("Nothing can be written to /var.")
    assert (notice.state, notice.attempts, notice.error) == (NoticeState.SENT, 1, "")
    assert notice.sent_at is not None


@pytest.mark.django_db
def test_no_subject_adds_a_header(mail_server, say):
    say(subject="Full\r\nBcc: everyone@example.org\r\n\r\nbody")

    send_waiting()

    (mail,) = mail_server.mails
    assert mail["Bcc"] is None
    assert mail["Subject"] == "Full Bcc: everyone@example.org body"


@pytest.mark.django_db
def test_a_webhook_arrives_signed_with_the_notices_id(receiver, say):
    say()

    assert send_waiting() == 1

    notice = Notice.objects.get()
    (received,) = receiver.received
    assert verify(received.headers, received.body, [SecretText(KEY)])
    assert received.headers["webhook-id"] == str(notice.pk)
    assert json.loads(received.body) == {
        "type": "notice.disk",
        "timestamp": notice.created_at.isoformat(),
        "data": {
            "id": str(notice.pk),
            "topic": "disk",
            "key": "disk-full",
            "urgency": "info",
            "subject": "The disk is full",
            "body": "Nothing can be written to /var.",
        },
    }


@pytest.mark.django_db
def test_apprise_carries_it_with_the_notices_id_in_its_text(apprise_receiver, say):
    say()

    assert send_waiting() == 1

    sent = json.loads(apprise_receiver.received[0].body)
    assert sent["title"] == "The disk is full"
    assert f"Notice {Notice.objects.get().pk}" in sent["message"]


@pytest.mark.django_db
def test_what_was_sent_is_not_sent_again(receiver, say):
    say()
    send_waiting()
    say()
    make_due()

    assert send_waiting() == 0
    assert len(receiver.received) == 1


@pytest.mark.django_db
def test_a_channel_that_is_down_gets_it_when_it_is_up_again(mail_server, receiver, say):
    receiver.status = 503
    say()

    assert send_waiting() == 1

    waiting = Notice.objects.get(channel="webhook")
    assert (waiting.state, waiting.error) == (NoticeState.WAITING, "The receiver answered 503.")
    assert send_waiting() == 0, "it waits"

    receiver.status = 200
    make_due()
    assert send_waiting() == 1
    first, second = receiver.received
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.body == second.body
    assert len(mail_server.mails) == 1


@pytest.mark.django_db
def test_a_mail_server_that_is_gone_comes_back(settings, say):
    with serving(SmtpServer()) as gone:
        settings.NOTICE_EMAIL_TO, settings.EMAIL_PORT = ["ops@example.org"], gone.port
    say()

    send_waiting()
    assert Notice.objects.get().error == "The mail server was not reached: ConnectionRefusedError."

    make_due()
    with serving(SmtpServer(gone.port)) as back:
        assert send_waiting() == 1
        assert len(back.mails) == 1


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ("550 no ops@example.org here, said T0KEN", "The mail server refused every recipient."),
        ("421 T0KEN", "The mail server refused every recipient."),
    ],
)
def test_a_refusing_mail_server_is_named_without_its_words(mail_server, say, answer, error):
    mail_server.recipient_answer = answer
    say()

    send_waiting()

    assert Notice.objects.get().error == error


@pytest.mark.django_db
def test_a_failure_tells_no_secret_anywhere(settings, say, caplog):
    caplog.set_level(logging.DEBUG)
    settings.NOTICE_WEBHOOK_URL = "http://127.0.0.1:9/hooks/T0KEN"
    settings.NOTICE_WEBHOOK_SECRET = KEY
    settings.NOTICE_APPRISE_URLS = [
        "json://user:T0KEN@127.0.0.1:9/T0KEN",
        "nothing://T0KEN",
    ]
    say()

    assert [send_waiting(), send_waiting()] == [0, 0]

    errors = dict(Notice.objects.values_list("channel", "error"))
    assert errors == {
        "webhook": "127.0.0.1:9 could not be connected to.",
        "apprise-1": "json did not take it.",
        "apprise-2": "Apprise does not understand this URL.",
    }
    assert "T0KEN" not in caplog.text
    assert KEY not in caplog.text


@pytest.mark.django_db
def test_a_channel_that_breaks_does_not_stop_the_others(receiver, settings, say, monkeypatch):
    settings.NOTICE_EMAIL_TO = ["ops@example.org"]
    settings.EMAIL_BACKEND = "tests.foundation.notices.test_sending.Broken"
    say()

    assert send_waiting() == 1
    assert Notice.objects.get(channel="email").error == "The channel failed: RuntimeError."


class Broken:
    """A mail backend with a mistake in it."""

    def __init__(self, **options):
        raise RuntimeError("T0KEN")


@pytest.mark.django_db
def test_a_failing_channel_keeps_the_others_waiting_once_a_run_only(receiver, mail_server, say):
    receiver.status = 500
    for number in range(5):
        say(f"disk-{number}")

    assert send_waiting() == 5
    assert len(receiver.received) == 1


@pytest.mark.django_db
def test_a_channel_that_was_taken_away_is_named(receiver, settings, say):
    say()
    settings.NOTICE_WEBHOOK_URL = ""

    send_waiting()

    assert Notice.objects.get().error == "This channel is no longer configured."


@pytest.mark.django_db
def test_it_is_given_up_after_days_and_the_log_says_so(receiver, settings, say, caplog):
    settings.NOTICE_RETRY_DAYS = 2
    receiver.status = 500
    say()
    Notice.objects.update(created_at=Now() - timedelta(days=2, seconds=1))

    send_waiting()
    make_due()
    receiver.status = 200

    assert send_waiting() == 0
    notice = Notice.objects.get()
    assert (notice.state, notice.error) == (NoticeState.GAVE_UP, "The receiver answered 500.")
    assert f"Gave up notice {notice.pk} by webhook: The receiver answered 500." in caplog.text


def test_waits_double_up_to_an_hour_and_are_spread():
    for attempts, minutes in ((1, 1), (2, 2), (4, 8), (7, 60), (1_000, 60)):
        waits = {wait_after(attempts) for _ in range(50)}
        assert min(waits) >= timedelta(minutes=minutes * 0.75)
        assert max(waits) <= timedelta(minutes=minutes * 1.25)
        assert len(waits) > 1


@pytest.mark.django_db
def test_an_attempt_that_was_overtaken_does_not_say_how_it_ended(receiver, say):
    say()
    overtaken = take()
    make_due()
    latest = take()

    sending._put_down_failure(overtaken, "I was late.")

    notice = Notice.objects.get()
    assert (notice.attempts, notice.error) == (latest.attempts, "")


@pytest.mark.django_db
def test_the_task_sends(receiver, say):
    say()

    task()

    assert len(receiver.received) == 1


def test_two_senders_at_once_send_each_notice_once(committed_db, receiver, say):
    for number in range(30):
        say(f"disk-{number}")
    barrier, counts = threading.Barrier(4), []

    def work():
        barrier.wait()
        counts.append(send_waiting())
        connection.close()

    senders = [threading.Thread(target=work) for _ in range(4)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()

    ids = [received.headers["webhook-id"] for received in receiver.received]
    assert len(ids) == len(set(ids)) == sum(counts) == 30
    assert not Notice.objects.exclude(state=NoticeState.SENT).exists()


def test_the_same_notice_said_by_many_at_once_is_one(committed_db, receiver, say):
    barrier = threading.Barrier(8)

    def work():
        barrier.wait()
        say()
        connection.close()

    speakers = [threading.Thread(target=work) for _ in range(8)]
    for speaker in speakers:
        speaker.start()
    for speaker in speakers:
        speaker.join()

    assert Notice.objects.count() == 1


def start_sender(url):
    program = (
        "import django; django.setup()\n"
        "from compliance_site.foundation.notices.sending import send_waiting\n"
        "send_waiting()"
    )
    variables = {"NOTICE_WEBHOOK_URL": url, "NOTICE_WEBHOOK_SECRET": KEY}
    environment = {"DJANGO_SETTINGS_MODULE": "compliance_site.settings", **variables}
    return subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, env=os.environ | environment)


def test_what_a_killed_sender_had_taken_is_sent_with_the_same_id(committed_db, settings, say):
    taken, release = threading.Event(), threading.Event()
    requests = []

    def answer_never(connection):
        requests.append(connection.recv(65_536))
        taken.set()
        release.wait(60)

    with serving(RawServer(answer_never)) as hanging:
        settings.NOTICE_WEBHOOK_URL = f"{hanging.url}/"
        settings.NOTICE_WEBHOOK_SECRET = KEY
        say()
        sender = start_sender(hanging.url)
        assert taken.wait(60)
        sender.send_signal(signal.SIGKILL)
        sender.wait(30)
        release.set()

    notice = Notice.objects.get()
    assert (notice.state, notice.attempts) == (NoticeState.WAITING, 1)
    assert send_waiting() == 0, "the dead sender may still live"

    Notice.objects.update(next_attempt_at=F("next_attempt_at") - sending.ATTEMPT)
    with serving(HttpServer(lambda received: (200, {}, b""))) as receiver:
        settings.NOTICE_WEBHOOK_URL = receiver.url
        assert send_waiting() == 1
    assert receiver.received[0].headers["webhook-id"] == str(notice.pk)
    assert f"webhook-id: {notice.pk}".encode() in requests[0]

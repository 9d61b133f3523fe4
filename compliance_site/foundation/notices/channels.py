"""The channels that carry notices: e-mail, a signed webhook, and what Apprise reaches.

They go where the operator's settings say, never to addresses that users supplied.
"""

from __future__ import annotations

import logging
import smtplib
from collections.abc import Callable
from functools import partial

import apprise
from django.conf import settings
from django.core.mail import EmailMessage

from compliance_site.foundation import webhook
from compliance_site.foundation.notices.models import Notice, Urgency
from compliance_site.foundation.outgoing import OutgoingError
from compliance_site.foundation.secret_text import SecretText

Channel = Callable[[Notice], None]

APPRISE_TYPES = {
    Urgency.INFO: apprise.NotifyType.INFO,
    Urgency.WARNING: apprise.NotifyType.WARNING,
    Urgency.URGENT: apprise.NotifyType.FAILURE,
}

# They log URLs and what servers answered, and those hold tokens.
logging.getLogger("apprise").setLevel(logging.CRITICAL)
logging.getLogger("urllib3").setLevel(logging.INFO)


class ChannelError(Exception):
    """A channel did not take the notice; the message is a sentence without any secret."""


def configured() -> dict[str, Channel]:
    """Return the channels that the settings configure, by name."""
    channels: dict[str, Channel] = {}
    if settings.NOTICE_EMAIL_TO:
        channels["email"] = by_email
    if settings.NOTICE_WEBHOOK_URL:
        channels["webhook"] = by_webhook
    # Each on its own, so that one that is down does not make the others say it again.
    for number, url in enumerate(settings.NOTICE_APPRISE_URLS, 1):
        channels[f"apprise-{number}"] = partial(by_apprise, SecretText(url))
    return channels


def by_email(notice: Notice) -> None:
    """Send it with the notice's id in `Message-ID`; raise `ChannelError`."""
    headers = {
        "Message-ID": f"<{notice.pk}@compliance-console>",
        "Auto-Submitted": "auto-generated",
        "X-Compliance-Topic": notice.topic,
    }
    mail = EmailMessage(
        notice.subject, text_of(notice), to=settings.NOTICE_EMAIL_TO, headers=headers
    )
    try:
        mail.send()
    except smtplib.SMTPRecipientsRefused:
        raise ChannelError("The mail server refused every recipient.") from None
    except smtplib.SMTPResponseException as exc:
        raise ChannelError(f"The mail server answered {exc.smtp_code}.") from None
    except (smtplib.SMTPException, OSError) as exc:
        raise ChannelError(f"The mail server was not reached: {type(exc).__name__}.") from None


def by_webhook(notice: Notice) -> None:
    """Post it, signed, with the notice's id in `webhook-id`; raise `ChannelError`."""
    payload = {
        "type": f"notice.{notice.topic}",
        "timestamp": notice.created_at.isoformat(),
        "data": {
            "id": str(notice.pk),
            "topic": notice.topic,
            "key": notice.key,
            "urgency": notice.urgency,
            "subject": notice.subject,
            "body": notice.body,
        },
    }
    key = SecretText(settings.NOTICE_WEBHOOK_SECRET)
    try:
        answer = webhook.post(
            settings.NOTICE_WEBHOOK_URL, message_id=str(notice.pk), payload=payload, key=key
        )
    except (OutgoingError, webhook.WebhookKeyError) as exc:
        raise ChannelError(str(exc)) from None
    if not answer.is_success:
        raise ChannelError(f"The receiver answered {answer.status}.")


def by_apprise(url: SecretText, notice: Notice) -> None:
    """Send it to one URL of Apprise, with the notice's id in its last line."""
    sender = apprise.Apprise(asset=apprise.AppriseAsset(async_mode=False))
    if not sender.add(url.reveal()):
        raise ChannelError("Apprise does not understand this URL.")
    is_sent = sender.notify(
        title=notice.subject,
        body=text_of(notice),
        notify_type=APPRISE_TYPES[Urgency(notice.urgency)],
        body_format=apprise.NotifyFormat.TEXT,
    )
    if not is_sent:
        raise ChannelError(f"{url.reveal().partition(':')[0]} did not take it.")


def text_of(notice: Notice) -> str:
    return f"{notice.body}\n\nNotice {notice.pk} of the compliance console.\n"

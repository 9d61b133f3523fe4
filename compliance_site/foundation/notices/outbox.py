"""Put notices into the outbox."""

from __future__ import annotations

import logging
from collections.abc import Callable

from django.conf import settings
from django.db.models.functions import Now
from django.utils.module_loading import import_string

from compliance_site.foundation.notices import channels
from compliance_site.foundation.notices.models import Notice, NoticeState, Urgency

LONGEST_BODY = 10_000
# Where a notice stands when no channel is configured.
CONSOLE = "console"

logger = logging.getLogger(__name__)


def notify(
    topic: str, *, key: str, subject: str, body: str, urgency: Urgency = Urgency.INFO
) -> None:
    """Say something once through every configured channel.

    It is put down in the caller's transaction and sent within a minute or so of its commit. The
    same key again does nothing, but for channels that were configured since: `key` names all
    that makes it another notice, such as a secret, its due date and how near that is.

    With no channel configured it is only shown in the console's list of notices, and logged.

    It must hold no secret. What looks like one is redacted, which is a net and no permission.
    """
    # The foundation knows no app; the settings say which redaction there is.
    redact: Callable[[str], str] = import_string(settings.NOTICE_REDACTION)
    texts = {
        "topic": topic,
        "key": key,
        "urgency": urgency,
        "subject": one_line(redact(subject))[:200],
        "body": redact(body)[:LONGEST_BODY],
    }
    if reached := channels.configured():
        notices = [Notice(channel=channel, **texts) for channel in reached]
        Notice.objects.bulk_create(notices, ignore_conflicts=True)
    else:
        _show_only(texts)


def _show_only(texts: dict[str, str]) -> None:
    """Put the notice into the console's list, where somebody has to look for it."""
    key = texts.pop("key")
    shown = {**texts, "state": NoticeState.SENT, "sent_at": Now()}
    _, is_new = Notice.objects.get_or_create(key=key, channel=CONSOLE, defaults=shown)
    if is_new:
        logger.warning("No channel carries notices; see the console: %s", texts["subject"])


def one_line(text: str) -> str:
    """Return the text without line breaks and other control signs, which could end a header."""
    printable = "".join(sign if sign.isprintable() else " " for sign in text)
    return " ".join(printable.split())

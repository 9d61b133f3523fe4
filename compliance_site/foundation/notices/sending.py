"""Send what waits in the outbox.

Any number of senders may work at once. A sender takes a notice by moving its next attempt past
the time that one takes, so that a dead sender's notice is taken again and nobody else's is.

A sender that dies after a channel took the notice and before that is put down leaves it to be
sent again: each notice arrives at least once. Its id goes with it (`Message-ID`, `webhook-id`,
last line with Apprise), so that a receiver can drop what comes twice.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Iterable
from datetime import timedelta

from django.conf import settings
from django.db import models, transaction
from django.db.models import Case, F, Value, When
from django.db.models.functions import Now

from compliance_site.foundation.notices import channels
from compliance_site.foundation.notices.channels import ChannelError
from compliance_site.foundation.notices.models import Notice, NoticeState

# Longer than any channel takes.
ATTEMPT = timedelta(minutes=5)
SHORTEST_WAIT = timedelta(minutes=1)
LONGEST_WAIT = timedelta(hours=1)

logger = logging.getLogger(__name__)


def send_waiting(*, seconds: float = 50) -> int:
    """Send what is due, for so many seconds at most; return how many notices were sent.

    A channel that fails is left alone until the next time: one that only times out would keep
    the others waiting.
    """
    until = time.monotonic() + seconds
    failing: set[str] = set()
    sent = 0
    while time.monotonic() < until and (notice := take(leaving=failing)):
        if problem := attempt(notice):
            _put_down_failure(notice, problem)
            failing.add(notice.channel)
        else:
            _latest(notice).update(state=NoticeState.SENT, sent_at=Now(), error="")
            sent += 1
    return sent


@transaction.atomic
def take(*, leaving: Iterable[str] = ()) -> Notice | None:
    """Take the notice that waited longest, for this process alone; None when none is due."""
    notice = (
        Notice.objects.select_for_update(skip_locked=True)
        .filter(state=NoticeState.WAITING, next_attempt_at__lte=Now())
        .exclude(channel__in=leaving)
        .order_by("next_attempt_at")
        .first()
    )
    if notice is not None:
        notice.attempts += 1
        Notice.objects.filter(pk=notice.pk).update(
            attempts=notice.attempts, next_attempt_at=Now() + ATTEMPT
        )
    return notice


def attempt(notice: Notice) -> str:
    """Send the notice through its channel; return why that failed, "" when it did not."""
    channel = channels.configured().get(notice.channel)
    if channel is None:
        return "This channel is no longer configured."
    try:
        channel(notice)
    except ChannelError as exc:
        return str(exc)
    except Exception as exc:  # a channel's mistake must not stop the others
        # Its text and traceback may hold a token.
        return f"The channel failed: {type(exc).__name__}."
    return ""


def wait_after(attempts: int) -> timedelta:
    """Return how long to wait after so many attempts: doubled each time, give or take a quarter."""
    doubled = SHORTEST_WAIT * (1 << min(attempts - 1, 10))
    spread: float = random.uniform(0.75, 1.25)  # noqa: S311  no secret
    return min(doubled, LONGEST_WAIT) * spread


def _put_down_failure(notice: Notice, problem: str) -> None:
    oldest = Now() - timedelta(days=settings.NOTICE_RETRY_DAYS)
    gave_up = When(created_at__lte=oldest, then=Value(NoticeState.GAVE_UP))
    _latest(notice).update(
        state=Case(gave_up, default=F("state")),
        next_attempt_at=Now() + wait_after(notice.attempts),
        error=problem[:500],
    )
    notice.refresh_from_db(fields=["state"])
    if notice.state == NoticeState.GAVE_UP:
        logger.error("Gave up notice %s by %s: %s", notice.pk, notice.channel, problem)
    else:
        logger.warning("Notice %s waits for %s: %s", notice.pk, notice.channel, problem)


def _latest(notice: Notice) -> models.QuerySet[Notice]:
    """Select the notice for as long as this attempt is the latest and nobody ended it."""
    return Notice.objects.filter(pk=notice.pk, attempts=notice.attempts, state=NoticeState.WAITING)

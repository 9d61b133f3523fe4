"""What people are told of rotation, once each: what falls due, and at once what went wrong."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from django.db.models import DateTimeField, DurationField, ExpressionWrapper, F, Value
from django.db.models.functions import Now

from compliance_site.foundation.notices.models import Urgency
from compliance_site.foundation.notices.outbox import notify
from secrets_rotation.models import Delivery, Run, Secret
from secrets_rotation.rotators.registry import generating

DAYS_BEFORE = (1, 3, 7)
OVERDUE = "overdue"
# The schedule rotates in the secret's window, which comes once a day.
PATIENCE = timedelta(days=1)

URGENCY = {"1": Urgency.WARNING, OVERDUE: Urgency.URGENT}


def announce_due(now: datetime | None = None) -> None:
    """Tell of the secrets that are due within 7, 3 and 1 days, and of those that are overdue.

    Each is told once for each due date: after an outage only the nearest one, and anew when the
    date has moved. One that the schedule rotates is overdue when a day has passed with nothing
    done. `now` is the database's time unless given.
    """
    moment = Now() if now is None else Value(now, DateTimeField())
    left = ExpressionWrapper(F("due_at") - moment, DurationField())
    secrets: Iterable[Any] = (
        Secret.objects.living()
        .with_due()
        .automatic()
        .annotate(left=left)
        .filter(left__lte=timedelta(days=max(DAYS_BEFORE)))
    )
    # The others wait for a person to bring the value, whatever their policy says.
    by_schedule = set(generating())
    for secret in secrets:
        _announce(
            secret,
            due_at=secret.due_at,
            left=secret.left,
            is_automatic=secret.is_automatic and secret.rotator in by_schedule,
        )


def rotation_failed(run: Run, reason: str = "") -> None:
    """Tell, once for each run and reason, that a rotation failed and the old value stays."""
    reason = reason or run.reason
    notify(
        "rotation_failed",
        key=f"rotation-failed|{run.pk}|{_digest(reason)}",
        subject=f"Rotation of {run.secret} failed",
        body=_about_run(run, reason) + "\nThe value that was current stays current.",
        urgency=Urgency.URGENT,
    )


def needs_attention(run: Run, reason: str = "") -> None:
    """Tell, once for each run and reason, that a rotation waits for a person."""
    reason = reason or run.reason
    notify(
        "rotation_attention",
        key=f"rotation-attention|{run.pk}|{_digest(reason)}",
        subject=f"Rotation of {run.secret} needs a person",
        body=_about_run(run, reason) + "\nNothing more happens until somebody resumes the run, "
        "rolls it back or adopts what is at the target.",
        urgency=Urgency.URGENT,
    )


def delivery_failing(delivery: Delivery) -> None:
    """Tell, once for each delivery and error, that a consumer does not get a new version."""
    consumer, version = delivery.consumer, delivery.version
    notify(
        "delivery_failing",
        key=f"delivery-failing|{delivery.pk}|{_digest(delivery.error)}",
        subject=f"{version} does not reach {consumer.name}",
        body=f"Delivery {delivery.pk} by {consumer.delivery} failed {delivery.attempts} times and "
        f"is tried again.\nReason: {delivery.error}\nUntil it arrives the old value goes on "
        "working, unless a security officer ends it or retires the consumer.",
        urgency=Urgency.WARNING,
    )


def threshold(left: timedelta, *, is_automatic: bool) -> str:
    """Return what to say now of a secret that is due after `left`: "7", "3", "1", `OVERDUE` or ""."""
    if left <= (-PATIENCE if is_automatic else timedelta(0)):
        return OVERDUE
    if left <= timedelta(0):
        return ""
    return next((str(days) for days in DAYS_BEFORE if left <= timedelta(days=days)), "")


def _announce(secret: Secret, *, due_at: datetime, left: timedelta, is_automatic: bool) -> None:
    reached = threshold(left, is_automatic=is_automatic)
    if not reached:
        return
    day = f"{due_at:%Y-%m-%d}"
    what = f"overdue since {day}" if reached == OVERDUE else f"due on {day}"
    owner = f"Its owner is {secret.owner}." if secret.owner else "Nobody is named as its owner."
    notify(
        "secret_due",
        key=f"secret-due|{secret.pk}|{due_at.isoformat()}|{reached}",
        subject=f"Rotation of {secret} is {what}",
        body=f"The rotation of {secret} is {what} (UTC). {owner}\n"
        + _what_to_do(is_automatic=is_automatic, is_overdue=reached == OVERDUE),
        urgency=URGENCY.get(reached, Urgency.INFO),
    )


def _what_to_do(*, is_automatic: bool, is_overdue: bool) -> str:
    if not is_automatic:
        return "It does not rotate by itself: somebody has to begin the rotation."
    if is_overdue:
        return "It should have rotated by itself and has not: look at its runs and at the workers."
    return "It rotates by itself on that day, in its window."


def _about_run(run: Run, reason: str) -> str:
    return f"Run {run.pk} of {run.secret}, begun by {run.actor}, stopped.\nReason: {reason}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]

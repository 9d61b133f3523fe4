"""The outbox: one notice on its way through one channel."""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now


class Urgency(models.TextChoices):
    INFO = "info"
    WARNING = "warning"
    URGENT = "urgent"


class NoticeState(models.TextChoices):
    WAITING = "waiting"
    SENT = "sent"
    # It could not be sent for NOTICE_RETRY_DAYS; `error` says why.
    GAVE_UP = "gave_up", "Gave up"


class Notice(models.Model):
    """One notice for one channel. What it says holds no secret."""

    # The receiver gets it too, and knows by it what came twice.
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    topic = models.CharField(max_length=50)
    # What it is about, so that it is said once.
    key = models.CharField(max_length=300)
    channel = models.CharField(max_length=20)
    urgency = models.CharField(max_length=7, choices=Urgency)
    subject = models.CharField(max_length=200)
    body = models.TextField()
    state = models.CharField(max_length=7, choices=NoticeState, default=NoticeState.WAITING)
    created_at = models.DateTimeField(db_default=Now())
    # Also the fence: an attempt that is no longer the latest may not say how it ended.
    attempts = models.PositiveIntegerField(default=0)
    # While an attempt is under way, when another may begin because that one must have died.
    next_attempt_at = models.DateTimeField(db_default=Now())
    sent_at = models.DateTimeField(null=True)
    # Why the last attempt failed: a sentence without any secret.
    error = models.CharField(max_length=500, blank=True)

    class Meta:
        db_table = "notices_notice"
        ordering = ("-created_at",)
        default_permissions = ("view",)
        constraints = [
            models.UniqueConstraint("key", "channel", name="notices_notice_once"),
            models.CheckConstraint(
                name="notices_notice_state",
                condition=Q(state=NoticeState.SENT, sent_at__isnull=False)
                | Q(state__in=(NoticeState.WAITING, NoticeState.GAVE_UP), sent_at=None),
            ),
        ]
        indexes = [
            models.Index(
                "next_attempt_at",
                name="notices_notice_next",
                condition=Q(state=NoticeState.WAITING.value),
            )
        ]

    def __str__(self) -> str:
        return f"{self.subject} by {self.channel}"

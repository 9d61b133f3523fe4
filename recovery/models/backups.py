from __future__ import annotations

from typing import Self

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now


class BackupKind(models.TextChoices):
    LOGICAL = "logical"
    BASE = "base"


class BackupState(models.TextChoices):
    # Asked for in the console or over REST; no worker has begun it.
    QUEUED = "queued"
    RUNNING = "running"
    STORED = "stored"
    FAILED = "failed"
    # It was there, and retention took it away.
    REMOVED = "removed"
    # It was there, and somebody else took it away; it is stored again when it comes back.
    MISSING = "missing"


class BackupQuerySet(models.QuerySet["Backup"]):
    def stored(self) -> Self:
        return self.filter(state=BackupState.STORED)

    def expected(self) -> Self:
        """What stores have, or should have."""
        return self.filter(state__in=(BackupState.STORED, BackupState.MISSING))

    def shown(self) -> Self:
        """What there is, should be, or will be in a moment."""
        gone = (BackupState.FAILED, BackupState.REMOVED)
        return self.exclude(state__in=gone)


class Backup(models.Model):
    """One attempt to back up a database, and what is stored of it."""

    id = models.CharField(max_length=60, primary_key=True)
    # The name it is configured under.
    database = models.CharField(max_length=40)
    kind = models.CharField(max_length=7, choices=BackupKind, default=BackupKind.LOGICAL)
    state = models.CharField(max_length=7, choices=BackupState, default=BackupState.RUNNING)
    started_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True)
    size_bytes = models.BigIntegerField(null=True)
    # The signed manifest as it is stored.
    manifest = models.JSONField(null=True)
    # By store: "" where it is stored, else why it is not.
    copies = models.JSONField(default=dict)
    verified_at = models.DateTimeField(null=True)
    pinned_at = models.DateTimeField(null=True)
    pin_reason = models.CharField(max_length=200, blank=True)
    # Why it failed.
    reason = models.CharField(max_length=500, blank=True)
    actor_type = models.CharField(max_length=20)
    actor = models.CharField(max_length=200, blank=True)

    objects = BackupQuerySet.as_manager()

    class Meta:
        db_table = "recovery_backup"
        ordering = ("-started_at", "-id")
        indexes = [
            models.Index(fields=("database", "-started_at"), name="recovery_backup_newest"),
        ]
        constraints = [
            models.CheckConstraint(
                name="recovery_backup_stored_is_complete",
                condition=~Q(state=BackupState.STORED)
                | Q(manifest__isnull=False, size_bytes__gt=0, finished_at__isnull=False),
            ),
            models.UniqueConstraint(
                name="recovery_backup_one_queued",
                fields=("database",),
                condition=Q(state=BackupState.QUEUED),
            ),
        ]

    def __str__(self) -> str:
        return f"backup {self.pk} of {self.database}"


class Verification(models.Model):
    """A backup was restored into a scratch database and compared with its manifest."""

    backup = models.ForeignKey(Backup, models.PROTECT, related_name="verifications")
    started_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True)
    # None while it is under way, or was killed.
    passed = models.BooleanField(null=True)
    reason = models.CharField(max_length=500, blank=True)
    # What was compared: steps with their seconds, tables, rows.
    report = models.JSONField(default=dict)
    actor_type = models.CharField(max_length=20)
    actor = models.CharField(max_length=200, blank=True)

    class Meta:
        db_table = "recovery_verification"
        ordering = ("-started_at", "-id")

    def __str__(self) -> str:
        return f"verification {self.pk} of {self.backup_id}"

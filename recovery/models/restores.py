from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now


class RestoreRequestState(models.TextChoices):
    REQUESTED = "requested"
    REJECTED = "rejected"
    # By who asked for it.
    WITHDRAWN = "withdrawn"
    APPROVED = "approved"


class RestoreRequest(models.Model):
    """A restore asked for by one person in the console and approved by another.

    How the restore itself goes is not here but in a file: this table may be in the database
    that is swapped.
    """

    state = models.CharField(
        max_length=9, choices=RestoreRequestState, default=RestoreRequestState.REQUESTED
    )
    database = models.CharField(max_length=40)
    backup_id = models.CharField(max_length=60)
    reason = models.CharField(max_length=500)
    requested_by = models.BigIntegerField()
    requester = models.CharField(max_length=200)
    requested_at = models.DateTimeField(db_default=Now())
    decided_by = models.BigIntegerField(null=True)
    decider = models.CharField(max_length=200, blank=True)
    decided_at = models.DateTimeField(null=True)
    # Of the restore that follows an approval; its state is found by it.
    restore_id = models.CharField(max_length=30, blank=True)

    class Meta:
        db_table = "recovery_restore_request"
        ordering = ("-id",)
        constraints = [
            models.CheckConstraint(
                name="recovery_restore_four_eyes",
                condition=Q(state=RestoreRequestState.REQUESTED, decided_by=None)
                | Q(state=RestoreRequestState.WITHDRAWN, decided_by=F("requested_by"))
                | Q(
                    ~Q(decided_by=F("requested_by")),
                    state=RestoreRequestState.REJECTED,
                    decided_by__isnull=False,
                )
                | Q(
                    ~Q(decided_by=F("requested_by")),
                    ~Q(restore_id=""),
                    state=RestoreRequestState.APPROVED,
                    decided_by__isnull=False,
                ),
            ),
        ]

    def __str__(self) -> str:
        return f"restore {self.pk} of {self.database}"

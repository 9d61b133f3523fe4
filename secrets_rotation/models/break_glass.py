"""Rotate many at once, in an emergency: asked for by one person, approved by another."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from secrets_rotation.models.runs import Run
from secrets_rotation.models.secrets import Secret


class BreakGlassState(models.TextChoices):
    REQUESTED = "requested"
    REJECTED = "rejected"
    ROTATING = "rotating"
    DONE = "done"


class BreakGlass(models.Model):
    """One emergency: which secrets, why, and who answers for it."""

    state = models.CharField(
        max_length=9, choices=BreakGlassState, default=BreakGlassState.REQUESTED
    )
    # What they have in common, as it was asked for: "tag prod", "type API_KEY".
    selection = models.CharField(max_length=200)
    reason = models.CharField(max_length=500)
    # The old values end as soon as the new ones are delivered.
    is_without_grace = models.BooleanField()
    requested_by = models.BigIntegerField()
    requester = models.CharField(max_length=200)
    requested_at = models.DateTimeField(db_default=Now())
    decided_by = models.BigIntegerField(null=True)
    decider = models.CharField(max_length=200, blank=True)
    decided_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "secrets_rotation_break_glass"
        ordering = ("-id",)
        verbose_name = "break-glass rotation"
        constraints = [
            models.CheckConstraint(
                name="secrets_rotation_four_eyes",
                condition=Q(state=BreakGlassState.REQUESTED, decided_by=None)
                | Q(state=BreakGlassState.REJECTED, decided_by__isnull=False)
                | Q(
                    ~Q(decided_by=F("requested_by")),
                    state__in=(BreakGlassState.ROTATING, BreakGlassState.DONE),
                    decided_by__isnull=False,
                ),
            )
        ]

    def __str__(self) -> str:
        return f"break-glass rotation {self.pk} of {self.selection}"


class BreakGlassMember(models.Model):
    """One secret of an emergency, and the run that rotates it."""

    break_glass = models.ForeignKey(BreakGlass, models.CASCADE, related_name="members")
    secret = models.ForeignKey(Secret, models.PROTECT, related_name="+")
    run = models.OneToOneField(Run, models.PROTECT, null=True, related_name="break_glass_member")
    # Why it cannot be rotated by the console; "" while it can.
    obstacle = models.CharField(max_length=500, blank=True)

    class Meta:
        db_table = "secrets_rotation_break_glass_member"
        ordering = ("id",)
        constraints = [
            models.UniqueConstraint(
                "break_glass", "secret", name="secrets_rotation_break_glass_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.secret} in {self.break_glass}"

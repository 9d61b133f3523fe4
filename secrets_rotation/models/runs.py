"""Runs: one rotation each, from the pending value to the end of the old one, and their history."""

from __future__ import annotations

from typing import Self

from django.db import models
from django.db.models import ExpressionWrapper, F, Q
from django.db.models.functions import Now

from secrets_rotation.models.secrets import Secret, Version


class RunState(models.TextChoices):
    PENDING = "PENDING"
    SETTING = "SETTING"
    SET = "SET"
    VERIFIED = "VERIFIED"
    DISTRIBUTING = "DISTRIBUTING"
    GRACE = "GRACE"
    REVOKING = "REVOKING"
    REVOKED = "REVOKED"
    ROLLING_BACK = "ROLLING_BACK"
    ROLLED_BACK = "ROLLED_BACK"
    ATTENTION = "ATTENTION"


ENDED = (RunState.REVOKED, RunState.ROLLED_BACK)
IN_FLIGHT = tuple(state for state in RunState if state not in ENDED)
# Before the new value is current: giving up means to take it back.
BEFORE_PROMOTION = (RunState.PENDING, RunState.SETTING, RunState.SET, RunState.VERIFIED)


class Trigger(models.TextChoices):
    SCHEDULE = "schedule"
    MANUAL = "manual"
    BREAK_GLASS = "break_glass"
    LEAK = "leak"


class RunQuerySet(models.QuerySet["Run"]):
    def in_flight(self) -> Self:
        return self.filter(state__in=IN_FLIGHT)

    def seconds_to_wait(self, run_id: int) -> float | None:
        """Return how long until the run's next step by the database's clock; None for no step."""
        waiting = self.in_flight().exclude(state=RunState.ATTENTION).filter(pk=run_id)
        wait = ExpressionWrapper(F("next_attempt_at") - Now(), models.DurationField())
        for left in waiting.annotate(wait=wait).values_list("wait", flat=True):
            return max(0.0, float(left.total_seconds()))
        return None


class Run(models.Model):
    """One rotation of one secret. Written only under its lease: see `runs/lease.py`."""

    secret = models.ForeignKey(Secret, models.PROTECT, related_name="runs")
    # The version that it brings; another one after the target refused a generated value.
    version = models.ForeignKey(Version, models.PROTECT, related_name="+")
    # What was current when it began; None for a secret's first value.
    previous = models.ForeignKey(Version, models.PROTECT, null=True, related_name="+")
    state = models.CharField(max_length=12, choices=RunState, default=RunState.PENDING)
    # Where it stood when it came to ATTENTION; empty in any other state.
    halted_in = models.CharField(max_length=12, choices=RunState, blank=True)
    # Why it waits, failed or needs a person: a sentence without any value.
    reason = models.CharField(max_length=500, blank=True)

    trigger = models.CharField(max_length=11, choices=Trigger)
    requested_by = models.BigIntegerField(null=True)
    actor_type = models.CharField(max_length=20)
    actor = models.CharField(max_length=200)
    # The same key asks for the same run, however often it is sent.
    idempotency_key = models.CharField(max_length=200, null=True)  # noqa: DJ001  absent is not ""
    request_hash = models.CharField(max_length=64, blank=True)

    started_at = models.DateTimeField(db_default=Now())
    set_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    # The target refused one generated value already.
    is_second_value = models.BooleanField(default=False)
    # How long the old value goes on working, as the policy said when the run began.
    grace = models.DurationField()
    grace_until = models.DateTimeField(null=True)

    attempts = models.PositiveSmallIntegerField(default=0)
    next_attempt_at = models.DateTimeField(db_default=Now())
    # Every write names the fence under which it was begun; a lost lease has another one.
    fence = models.BigIntegerField(default=0)
    leased_until = models.DateTimeField(null=True)
    leased_by = models.CharField(max_length=200, blank=True)

    objects = RunQuerySet.as_manager()

    class Meta:
        db_table = "secrets_rotation_run"
        ordering = ("-id",)
        constraints = [
            models.CheckConstraint(
                name="secrets_rotation_run_state", condition=Q(state__in=RunState.values)
            ),
            models.UniqueConstraint(
                "secret",
                name="secrets_rotation_one_run",
                condition=Q(state__in=[state.value for state in IN_FLIGHT]),
            ),
            models.UniqueConstraint(
                "requested_by", "idempotency_key", name="secrets_rotation_run_idempotency"
            ),
            models.CheckConstraint(
                name="secrets_rotation_run_ended",
                condition=Q(state__in=ENDED, ended_at__isnull=False)
                | Q(state__in=IN_FLIGHT, ended_at=None),
            ),
        ]
        indexes = [
            models.Index(
                "next_attempt_at",
                name="secrets_rotation_run_next",
                condition=Q(state__in=[state.value for state in IN_FLIGHT]),
            )
        ]

    def __str__(self) -> str:
        return f"run {self.pk} of {self.secret}"


class PrincipalLock(models.Model):
    """Who works on a principal of a target; two secrets may name the same one."""

    principal = models.CharField(max_length=500, primary_key=True)
    run = models.ForeignKey(Run, models.CASCADE, related_name="+")
    fence = models.BigIntegerField()
    leased_until = models.DateTimeField()

    class Meta:
        db_table = "secrets_rotation_principal_lock"

    def __str__(self) -> str:
        return self.principal


class Step(models.Model):
    """What a run did, saw or decided; append-only."""

    run = models.ForeignKey(Run, models.PROTECT, related_name="steps")
    at = models.DateTimeField(db_default=Now())
    # The run's state after it.
    state = models.CharField(max_length=12, choices=RunState)
    # A sentence for people, without any value.
    text = models.CharField(max_length=500)
    is_trouble = models.BooleanField(default=False)
    actor_type = models.CharField(max_length=20)
    actor = models.CharField(max_length=200)

    class Meta:
        db_table = "secrets_rotation_step"
        ordering = ("id",)

    def __str__(self) -> str:
        return f"{self.state}: {self.text}"


class Rotation(models.Model):
    """The history: a version became current; append-only."""

    run = models.OneToOneField(Run, models.PROTECT, related_name="rotation")
    secret = models.ForeignKey(Secret, models.PROTECT, related_name="rotations")
    version = models.OneToOneField(Version, models.PROTECT, related_name="rotation")
    rotated_at = models.DateTimeField()
    # The person who asked for it; None for one that the schedule began.
    rotated_by = models.BigIntegerField(null=True)
    actor_type = models.CharField(max_length=20)
    actor = models.CharField(max_length=200)

    class Meta:
        db_table = "secrets_rotation_history"
        ordering = ("-id",)

    def __str__(self) -> str:
        return f"{self.version} on {self.rotated_at:%Y-%m-%d}"

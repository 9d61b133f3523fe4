"""Secrets and their versions. A value is a sealed row of its own, deleted when it is dead."""

from __future__ import annotations

from datetime import UTC
from typing import Any, Self

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Coalesce, Now, TruncDate

from compliance_site.foundation.sealed import SealedModel


class RotationDue(models.Func):
    """When the next rotation is due; the database function is the one place that knows."""

    function = "secrets_rotation_due"
    output_field = models.DateTimeField()


def _utc_day(moment: Any) -> Any:
    return TruncDate(moment, tzinfo=UTC)


class SecretQuerySet(models.QuerySet["Secret"]):
    def living(self) -> Self:
        return self.filter(retired_at=None)

    def with_due(self) -> Self:
        """Annotate `due_at`: the day, 00:00 UTC, on which the next rotation is due."""
        return self.annotate(
            due_at=RotationDue(
                "anchored_on",
                _utc_day(Coalesce("last_rotated_at", "created_at")),
                Coalesce("override__interval", "policy__interval"),
                Coalesce("override__interval_unit", "policy__interval_unit"),
            )
        )

    def automatic(self) -> Self:
        """Annotate `is_automatic`: whether the schedule rotates it, by its type or its own rule."""
        return self.annotate(is_automatic=Coalesce("override__auto_rotate", "policy__auto_rotate"))


class Secret(models.Model):
    """One credential that is rotated, without its value."""

    policy = models.ForeignKey(
        "secrets_rotation.Policy",
        models.PROTECT,
        db_column="secret_type",
        related_name="secrets",
        verbose_name="type",
    )
    name = models.CharField(
        max_length=100,
        validators=[
            RegexValidator(
                r"^[A-Za-z0-9][A-Za-z0-9_.-]*\Z", "Use letters, digits, dots, dashes, underscores."
            )
        ],
    )
    owner = models.CharField(
        max_length=200, blank=True, help_text="The person or team who answers for it."
    )
    tags = ArrayField(models.CharField(max_length=50), default=list, blank=True)
    rotator = models.CharField(max_length=50, help_text="See `manage.py rotators`.")
    # The settings of its target that are no secrets; the others are in `TargetCredential`.
    target = models.JSONField(default=dict, blank=True)
    depends_on = models.ManyToManyField(
        "self",
        symmetrical=False,
        blank=True,
        related_name="dependents",
        help_text="Secrets that are rotated before this one when many are.",
    )
    created_at = models.DateTimeField(db_default=Now())
    # The day from which intervals are counted: months from 31 January end on 28 February.
    anchored_on = models.DateField()
    last_rotated_at = models.DateTimeField(null=True)
    retired_at = models.DateTimeField(null=True)

    objects = SecretQuerySet.as_manager()

    class Meta:
        db_table = "secrets_rotation_secret"
        ordering = ("policy", "name")
        constraints = [
            models.UniqueConstraint("policy", "name", name="secrets_rotation_secret_name")
        ]
        indexes = [GinIndex(fields=["tags"], name="secrets_rotation_secret_tags")]

    def __str__(self) -> str:
        return f"{self.policy_id} {self.name}"

    @property
    def secret_type(self) -> str:
        return self.policy_id


class TargetCredential(SealedModel):
    """The secret settings of a secret's target, as one JSON object."""

    secret = models.OneToOneField(
        Secret, models.CASCADE, primary_key=True, related_name="target_credential"
    )

    class Meta:
        db_table = "secrets_rotation_target_credential"

    def __str__(self) -> str:
        return f"target credential of {self.secret}"

    def context(self) -> str:
        return f"secrets_rotation_target_credential|{self.secret_id}"


class VersionState(models.TextChoices):
    PENDING = "pending"
    CURRENT = "current"
    # Superseded, still accepted: in its grace.
    PREVIOUS = "previous"
    REVOKED = "revoked"
    # Never became current.
    DISCARDED = "discarded"


ONE_EACH = (VersionState.PENDING, VersionState.CURRENT, VersionState.PREVIOUS)


class Version(models.Model):
    """One value that a secret has, had or is about to have."""

    secret = models.ForeignKey(Secret, models.PROTECT, related_name="versions")
    number = models.PositiveIntegerField()
    state = models.CharField(max_length=9, choices=VersionState)
    # Whose credential it is at the target; "" where a target has no users.
    username = models.CharField(max_length=200, blank=True)
    is_generated = models.BooleanField()
    # Keyed, so that a reuse is recognised after the value is gone.
    fingerprint = models.CharField(max_length=64)
    created_at = models.DateTimeField(db_default=Now())
    promoted_at = models.DateTimeField(null=True)
    superseded_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "secrets_rotation_version"
        ordering = ("secret", "-number")
        constraints = [
            models.UniqueConstraint("secret", "number", name="secrets_rotation_version_number"),
            models.CheckConstraint(
                name="secrets_rotation_version_state",
                condition=Q(state__in=VersionState.values),
            ),
            *(
                models.UniqueConstraint(
                    "secret",
                    name=f"secrets_rotation_one_{state}",
                    condition=Q(state=state.value),
                )
                for state in ONE_EACH
            ),
        ]

    def __str__(self) -> str:
        return f"version {self.number} of {self.secret}"

    def end(self, state: VersionState) -> None:
        """Mark the version dead and delete its value."""
        Version.objects.filter(pk=self.pk).update(state=state, ended_at=Now())
        VersionValue.objects.filter(version=self).delete()


class VersionValue(SealedModel):
    """The value of a version."""

    version = models.OneToOneField(Version, models.CASCADE, primary_key=True, related_name="value")

    class Meta:
        db_table = "secrets_rotation_version_value"

    def __str__(self) -> str:
        return f"value of {self.version}"

    def context(self) -> str:
        return f"secrets_rotation_version_value|{self.version.secret_id}|{self.version_id}"

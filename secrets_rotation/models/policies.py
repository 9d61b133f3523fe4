"""How often secrets of a type rotate, and what one secret does otherwise."""

from __future__ import annotations

from datetime import timedelta

from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q

from secrets_rotation.policies.generation import LONGEST, SHORTEST


class Unit(models.TextChoices):
    DAYS = "days"
    MONTHS = "months"


class Rules(models.Model):
    """The rules of a policy; where an override leaves one empty, the type's rule holds."""

    interval = models.PositiveSmallIntegerField(
        null=True, help_text="How often the secret rotates, in the unit below."
    )
    interval_unit = models.CharField(max_length=6, choices=Unit, null=True)  # noqa: DJ001
    grace = models.DurationField(
        null=True, help_text="How long the old value goes on working after the new one is out."
    )
    auto_rotate = models.BooleanField(
        null=True, help_text="Whether the console rotates by itself when the secret is due."
    )
    window_start = models.TimeField(
        null=True, help_text="Automatic rotations begin from this time on (UTC)."
    )
    window_end = models.TimeField(
        null=True, help_text="... and before this one; the same time twice means the whole day."
    )
    history_length = models.PositiveSmallIntegerField(
        null=True, help_text="How many earlier values a new one must differ from."
    )
    value_length = models.PositiveSmallIntegerField(
        null=True, help_text=f"Length of generated values, {SHORTEST} to {LONGEST}."
    )
    value_symbols = models.CharField(  # noqa: DJ001
        max_length=40,
        null=True,
        blank=True,
        help_text="Symbols that generated values may hold beside letters and digits.",
    )

    class Meta:
        abstract = True


RULES = (
    "interval",
    "interval_unit",
    "grace",
    "auto_rotate",
    "window_start",
    "window_end",
    "history_length",
    "value_length",
    "value_symbols",
)


class Policy(Rules):
    """The policy of a type of secrets."""

    secret_type = models.CharField(
        max_length=50,
        primary_key=True,
        validators=[RegexValidator(r"^[A-Z][A-Z0-9_]*\Z", "Use capitals, digits and underscores.")],
    )

    class Meta:
        db_table = "secrets_rotation_policy"
        ordering = ("secret_type",)
        verbose_name_plural = "policies"
        constraints = [
            models.CheckConstraint(
                name="secrets_rotation_policy_whole",
                condition=Q(**{f"{name}__isnull": False for name in RULES}),
            ),
            models.CheckConstraint(
                name="secrets_rotation_policy_possible",
                condition=Q(interval__gte=1, grace__gte=timedelta(0))
                & Q(interval_unit__in=Unit.values)
                & Q(value_length__gte=SHORTEST, value_length__lte=LONGEST),
            ),
        ]

    def __str__(self) -> str:
        return self.secret_type


class PolicyOverride(Rules):
    """What one secret does otherwise than its type."""

    secret = models.OneToOneField(
        "secrets_rotation.Secret", models.CASCADE, primary_key=True, related_name="override"
    )

    class Meta:
        db_table = "secrets_rotation_policy_override"
        constraints = [
            models.CheckConstraint(
                name="secrets_rotation_override_possible",
                # A number without its unit would change its meaning with the type's.
                condition=(
                    Q(interval__isnull=True, interval_unit__isnull=True)
                    | Q(interval__gte=1, interval_unit__in=Unit.values)
                )
                & (Q(grace__isnull=True) | Q(grace__gte=timedelta(0))),
            ),
            models.CheckConstraint(
                name="secrets_rotation_override_window",
                condition=Q(window_start__isnull=True, window_end__isnull=True)
                | Q(window_start__isnull=False, window_end__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"override of {self.secret}"

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now


class HealthSample(models.Model):
    """What a component's probe said in one minute."""

    component = models.CharField(max_length=40)
    taken_at = models.DateTimeField(db_default=Now())
    status = models.CharField(max_length=20)
    response_ms = models.IntegerField(null=True)

    class Meta:
        db_table = "recovery_health_sample"
        ordering = ("-taken_at",)
        indexes = [
            models.Index(fields=("component", "taken_at"), name="recovery_health_by_component"),
        ]
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"{self.component} {self.status}"


class HealthProbe(models.Model):
    """The one row that the check of the database writes, so that it touches nothing else.

    PostgreSQL clears old versions of a row away on the row's own page: the table does not grow.
    """

    id = models.SmallIntegerField(primary_key=True)
    seen_at = models.DateTimeField()

    class Meta:
        db_table = "recovery_health_probe"
        default_permissions = ()
        constraints = [
            models.CheckConstraint(name="recovery_health_probe_one_row", condition=Q(id=1)),
        ]

    def __str__(self) -> str:
        return f"probed at {self.seen_at}"

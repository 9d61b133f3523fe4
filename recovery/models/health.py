from __future__ import annotations

from django.db import models
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

"""Who uses a secret: where each new version is delivered, and who said that they use it."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from compliance_site.foundation.sealed import SealedModel
from secrets_rotation.models.secrets import Secret, Version


class Consumer(models.Model):
    """A program that uses a secret."""

    secret = models.ForeignKey(Secret, models.PROTECT, related_name="consumers")
    name = models.CharField(max_length=100)
    # How it gets a new version: a name in `delivery/registry.py`.
    delivery = models.CharField(max_length=50, help_text="How it gets a new version.")
    # The settings of its delivery that are no secrets.
    destination = models.JSONField(default=dict, blank=True)
    # The account that acknowledges for it; people may in its stead.
    service_account = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField(db_default=Now())
    retired_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "secrets_rotation_consumer"
        ordering = ("secret", "name")
        constraints = [
            models.UniqueConstraint(
                "secret",
                "name",
                name="secrets_rotation_consumer_name",
                condition=Q(retired_at=None),
            )
        ]

    def __str__(self) -> str:
        return f"{self.name} of {self.secret}"


class ConsumerCredential(SealedModel):
    """The secret settings of a consumer's delivery, as one JSON object."""

    consumer = models.OneToOneField(
        Consumer, models.CASCADE, primary_key=True, related_name="credential"
    )

    class Meta:
        db_table = "secrets_rotation_consumer_credential"

    def __str__(self) -> str:
        return f"credential of {self.consumer}"

    def context(self) -> str:
        return f"secrets_rotation_consumer_credential|{self.consumer_id}"


class DeliveryState(models.TextChoices):
    WAITING = "waiting"
    DELIVERED = "delivered"
    # A later version took its place before it arrived.
    SUPERSEDED = "superseded"


class Delivery(models.Model):
    """The outbox: one version on its way to one consumer."""

    consumer = models.ForeignKey(Consumer, models.PROTECT, related_name="deliveries")
    version = models.ForeignKey(Version, models.PROTECT, related_name="deliveries")
    state = models.CharField(max_length=10, choices=DeliveryState, default=DeliveryState.WAITING)
    attempts = models.PositiveIntegerField(default=0)
    next_attempt_at = models.DateTimeField(db_default=Now())
    leased_until = models.DateTimeField(null=True)
    delivered_at = models.DateTimeField(null=True)
    # Why the last attempt failed: a sentence without any value.
    error = models.CharField(max_length=500, blank=True)

    class Meta:
        db_table = "secrets_rotation_delivery"
        verbose_name_plural = "deliveries"
        ordering = ("id",)
        constraints = [
            models.UniqueConstraint("consumer", "version", name="secrets_rotation_delivery_once"),
            models.CheckConstraint(
                name="secrets_rotation_delivery_state",
                condition=Q(state=DeliveryState.DELIVERED, delivered_at__isnull=False)
                | Q(state__in=(DeliveryState.WAITING, DeliveryState.SUPERSEDED), delivered_at=None),
            ),
        ]
        indexes = [
            models.Index(
                "next_attempt_at",
                name="secrets_rotation_delivery_next",
                condition=Q(state=DeliveryState.WAITING.value),
            )
        ]

    def __str__(self) -> str:
        return f"{self.version} to {self.consumer.name}"


class Acknowledgement(models.Model):
    """A consumer said that it uses a version; append-only."""

    consumer = models.ForeignKey(Consumer, models.PROTECT, related_name="acknowledgements")
    version = models.ForeignKey(Version, models.PROTECT, related_name="acknowledgements")
    at = models.DateTimeField(db_default=Now())
    actor_type = models.CharField(max_length=20)
    actor = models.CharField(max_length=200)

    class Meta:
        db_table = "secrets_rotation_acknowledgement"
        ordering = ("id",)
        constraints = [
            models.UniqueConstraint("consumer", "version", name="secrets_rotation_acknowledged")
        ]

    def __str__(self) -> str:
        return f"{self.consumer.name} uses {self.version}"

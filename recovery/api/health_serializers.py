"""What the health endpoints answer, for the API's description; the answers are made in `health_bodies`."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from recovery.health.results import Status

STATUSES = [str(status) for status in Status]
MAINTENANCE = "maintenance"
READY_STATUSES = [*STATUSES, MAINTENANCE]


class BareSerializer(serializers.Serializer[Any]):
    """What everybody gets."""

    status = serializers.ChoiceField(choices=STATUSES)
    timestamp = serializers.DateTimeField()


class ReadySerializer(serializers.Serializer[Any]):
    status = serializers.ChoiceField(choices=READY_STATUSES)
    timestamp = serializers.DateTimeField()


class PartSerializer(BareSerializer):
    """One part; `responseTime` in milliseconds, null when it did not answer."""

    responseTime = serializers.IntegerField(required=False, allow_null=True)
    reason = serializers.CharField(required=False)


class ComponentSerializer(serializers.Serializer[Any]):
    """One part of all; each has those of these that are its own, and a reason when it is not healthy."""

    status = serializers.ChoiceField(choices=STATUSES)
    responseTime = serializers.IntegerField(required=False, allow_null=True)
    activeWorkers = serializers.IntegerField(required=False)
    oldestTaskSeconds = serializers.IntegerField(required=False, allow_null=True)
    freePercent = serializers.FloatField(required=False)
    freeBytes = serializers.IntegerField(required=False)
    databases = serializers.IntegerField(
        required=False, help_text="That are configured to be backed up."
    )
    databasesAmiss = serializers.IntegerField(
        required=False, help_text="Of these, how many the reason names."
    )
    storedAgeSeconds = serializers.IntegerField(
        required=False,
        allow_null=True,
        help_text="Of each database's newest backup, the age of the oldest; null without any.",
    )
    verifiedAgeSeconds = serializers.IntegerField(
        required=False, allow_null=True, help_text="The same of the newest verified ones."
    )
    spooledBytes = serializers.IntegerField(required=False)
    setAsideBytes = serializers.IntegerField(required=False)
    reason = serializers.CharField(required=False)


class MetricsSerializer(serializers.Serializer[Any]):
    """Percentages of the web server's machine; absent when it could not be measured."""

    cpuUsage = serializers.FloatField(required=False)
    memoryUsage = serializers.FloatField(required=False)
    diskUsage = serializers.FloatField(required=False)


class DetailedSerializer(BareSerializer):
    """Everybody gets `status` and `timestamp`; the rest is for who may see details."""

    components = serializers.DictField(child=ComponentSerializer(), required=False)
    metrics = MetricsSerializer(required=False)

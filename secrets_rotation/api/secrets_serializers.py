"""The border of secrets and runs; a value never crosses it outwards."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from secrets_rotation.api.rotation_serializers import (
    LONGEST_SUPPLIED,
    Moment,
    PolicyRulesSerializer,
    SecretField,
)
from secrets_rotation.models import Run, Secret, Step

NAME = Secret._meta.get_field("name").validators


class SecretSerializer(serializers.Serializer[Secret]):
    """A secret as it is shown."""

    id = serializers.IntegerField(source="pk")
    secretType = serializers.CharField(source="secret_type")
    secretName = serializers.CharField(source="name")
    owner = serializers.CharField()
    tags = serializers.ListField(child=serializers.CharField())
    rotator = serializers.CharField()
    target = serializers.DictField(help_text="Without its secret settings.")
    policy = PolicyRulesSerializer(
        source="override", allow_null=True, help_text="What it does otherwise than its type."
    )
    dependsOn = serializers.SerializerMethodField()
    lastRotated = Moment(source="last_rotated_at", allow_null=True)
    retiredAt = Moment(source="retired_at", allow_null=True)

    def get_dependsOn(self, secret: Secret) -> list[int]:
        return [other.pk for other in secret.depends_on.all()]

    def to_representation(self, instance: Secret) -> dict[str, Any]:
        # A secret without an override has no such attribute, as Django has it.
        instance.__dict__["override"] = getattr(instance, "override", None)
        return super().to_representation(instance)


class SecretListSerializer(serializers.Serializer[Any]):
    secrets = SecretSerializer(many=True)


class NewSecretSerializer(serializers.Serializer[Any]):
    secretType = serializers.CharField(source="secret_type", max_length=50)
    secretName = serializers.CharField(source="name", max_length=100, validators=NAME)
    rotator = serializers.CharField(max_length=50, help_text="See `manage.py rotators`.")
    target = serializers.DictField(default=dict, help_text="The rotator's settings.")
    owner = serializers.CharField(default="", allow_blank=True, max_length=200)
    tags = serializers.ListField(
        child=serializers.CharField(max_length=50), default=list, max_length=50
    )
    policy = PolicyRulesSerializer(source="override", default=dict)
    dependsOn = serializers.PrimaryKeyRelatedField(
        source="depends_on", many=True, default=list, queryset=Secret.objects.living()
    )


class SecretChangeSerializer(serializers.Serializer[Any]):
    target = serializers.DictField(required=False)
    owner = serializers.CharField(required=False, allow_blank=True, max_length=200)
    tags = serializers.ListField(
        child=serializers.CharField(max_length=50), required=False, max_length=50
    )
    policy = PolicyRulesSerializer(source="override", required=False)
    dependsOn = serializers.PrimaryKeyRelatedField(
        source="depends_on", many=True, required=False, queryset=Secret.objects.living()
    )


class StepSerializer(serializers.Serializer[Step]):
    at = Moment()
    state = serializers.CharField()
    text = serializers.CharField()
    isTrouble = serializers.BooleanField(source="is_trouble")
    actor = serializers.CharField()


class RunSerializer(serializers.Serializer[Run]):
    """A run with its steps."""

    id = serializers.IntegerField(source="pk")
    secretId = serializers.IntegerField(source="secret_id")
    secretType = serializers.CharField(source="secret.secret_type")
    secretName = serializers.CharField(source="secret.name")
    version = serializers.IntegerField(source="version.number")
    state = serializers.CharField()
    reason = serializers.CharField()
    trigger = serializers.CharField()
    requestedBy = serializers.IntegerField(source="requested_by", allow_null=True)
    startedAt = Moment(source="started_at")
    endedAt = Moment(source="ended_at", allow_null=True)
    graceUntil = Moment(source="grace_until", allow_null=True)
    attempts = serializers.IntegerField()
    nextAttemptAt = Moment(source="next_attempt_at")
    steps = StepSerializer(many=True)


class AdoptSerializer(serializers.Serializer[Any]):
    newValue = SecretField(
        required=False,
        max_length=LONGEST_SUPPLIED,
        help_text="What the target accepts; left out, the pending value as it is.",
    )


class UsageSerializer(serializers.Serializer[Any]):
    session = serializers.CharField()
    who = serializers.CharField()
    since = Moment(allow_null=True)


class UsagesSerializer(serializers.Serializer[Any]):
    usages = UsageSerializer(many=True)

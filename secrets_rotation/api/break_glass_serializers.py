"""The border of break-glass rotations."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from secrets_rotation import break_glass
from secrets_rotation.api.rotation_serializers import Moment
from secrets_rotation.models import BreakGlass, BreakGlassMember


class RequestSerializer(serializers.Serializer[Any]):
    secretType = serializers.CharField(source="secret_type", required=False, max_length=50)
    tag = serializers.CharField(required=False, max_length=50)
    reason = serializers.CharField(max_length=500)
    withoutGrace = serializers.BooleanField(
        source="is_without_grace",
        default=False,
        help_text="End the old values as soon as the new ones are delivered.",
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if ("secret_type" in attrs) == ("tag" in attrs):
            raise serializers.ValidationError({"tag": "Give secretType or tag, and not both."})
        return attrs


class MemberSerializer(serializers.Serializer[BreakGlassMember]):
    secretId = serializers.IntegerField(source="secret_id")
    secretType = serializers.CharField(source="secret.secret_type")
    secretName = serializers.CharField(source="secret.name")
    runId = serializers.IntegerField(source="run_id", allow_null=True)
    state = serializers.CharField(source="run.state", default=None)
    rotatedAt = Moment(source="run.rotation.rotated_at", default=None)
    endedAt = Moment(source="run.ended_at", default=None)
    obstacle = serializers.CharField()


class BreakGlassSerializer(serializers.Serializer[BreakGlass]):
    """An emergency with its report: each secret, its run, when its old value ended."""

    id = serializers.IntegerField(source="pk")
    state = serializers.CharField()
    selection = serializers.CharField()
    reason = serializers.CharField()
    withoutGrace = serializers.BooleanField(source="is_without_grace")
    requester = serializers.CharField()
    requestedAt = Moment(source="requested_at")
    decider = serializers.CharField()
    decidedAt = Moment(source="decided_at", allow_null=True)
    endedAt = Moment(source="ended_at", allow_null=True)
    progress = serializers.SerializerMethodField()
    secrets = MemberSerializer(source="members", many=True)

    def get_progress(self, emergency: BreakGlass) -> dict[str, int]:
        return break_glass.progress(emergency)


class BreakGlassListSerializer(serializers.Serializer[Any]):
    breakGlass = BreakGlassSerializer(many=True)

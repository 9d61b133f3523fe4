"""The JSON of events that other services send, and of the answer to them."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from audit.capture.ingest import ACTION_NAME
from audit.models import ActorType

METHOD_NAME = r"^[A-Za-z-]{1,20}$"


class EventSerializer(serializers.Serializer[Any]):
    """One event of another service. Only `resource` and one of `action`, `method` are needed."""

    id = serializers.CharField(
        source="event_id", required=False, max_length=200, help_text="Makes resending safe."
    )
    source = serializers.CharField(required=False, max_length=100)  # type: ignore[assignment]
    occurredAt = serializers.DateTimeField(source="occurred_at", required=False, allow_null=True)
    userId = serializers.IntegerField(
        source="user_id", required=False, allow_null=True, min_value=1, max_value=2**63 - 1
    )
    actor = serializers.CharField(required=False, allow_null=True, allow_blank=True, max_length=200)
    actorType = serializers.ChoiceField(
        ActorType.choices, source="actor_type", required=False, allow_null=True
    )
    action = serializers.RegexField(ACTION_NAME, required=False)
    resource = serializers.CharField(max_length=2000)
    route = serializers.CharField(
        required=False, allow_null=True, allow_blank=True, max_length=2000
    )
    query = serializers.CharField(
        required=False, allow_null=True, allow_blank=True, max_length=4000
    )
    method = serializers.RegexField(METHOD_NAME, required=False, allow_null=True)
    statusCode = serializers.IntegerField(
        source="status_code", required=False, allow_null=True, min_value=100, max_value=599
    )
    ipAddress = serializers.IPAddressField(source="ip_address", required=False, allow_null=True)
    userAgent = serializers.CharField(
        source="user_agent", required=False, allow_null=True, allow_blank=True, max_length=1000
    )
    requestData = serializers.JSONField(source="request_data", required=False, allow_null=True)
    requestId = serializers.CharField(
        source="request_id", required=False, allow_null=True, allow_blank=True, max_length=200
    )
    durationMs = serializers.IntegerField(
        source="duration_ms", required=False, allow_null=True, min_value=0, max_value=2**31 - 1
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if not attrs.get("action") and not attrs.get("method"):
            raise serializers.ValidationError({"action": "Give an action or an HTTP method."})
        return attrs

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if isinstance(data, dict) and (unknown := sorted(set(data) - set(self.fields))):
            raise serializers.ValidationError(
                {str(name): "This is not a field of an event." for name in unknown}
            )
        fields: dict[str, Any] = super().to_internal_value(data)
        return fields


class RejectedEventSerializer(serializers.Serializer[Any]):
    index = serializers.IntegerField(help_text="Its place in the batch, from 0.")
    id = serializers.CharField(allow_null=True)
    error = serializers.CharField()


class IngestAnswerSerializer(serializers.Serializer[Any]):
    accepted = serializers.IntegerField()
    duplicates = serializers.IntegerField()
    rejected = RejectedEventSerializer(many=True)

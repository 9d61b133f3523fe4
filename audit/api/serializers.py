"""The border between the log and its JSON."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from audit.models import ActorType, AuditLog
from audit.reading.export import Format
from audit.reading.shape import timestamp

LARGEST_PAGE = 10_000_000


class TimestampField(serializers.DateTimeField):
    """RFC 3339 in UTC, always with microseconds, as in exports."""

    def to_representation(self, value: Any) -> str:
        return timestamp(value)


class AuditLogSerializer(serializers.ModelSerializer[AuditLog]):
    userId = serializers.IntegerField(source="user_id", allow_null=True)
    statusCode = serializers.IntegerField(source="status_code", allow_null=True)
    ipAddress = serializers.IPAddressField(source="ip_address", allow_null=True)
    userAgent = serializers.CharField(source="user_agent")
    requestData = serializers.CharField(
        source="request_data", help_text="The redacted request body as JSON text."
    )
    createdAt = TimestampField(source="created_at", help_text="When the console recorded it.")
    actorType = serializers.ChoiceField(ActorType.choices, source="actor_type")
    eventId = serializers.CharField(source="event_id")
    occurredAt = TimestampField(
        source="occurred_at", allow_null=True, help_text="When it happened, by the sender's clock."
    )
    requestId = serializers.CharField(source="request_id")
    durationMs = serializers.IntegerField(source="duration_ms", allow_null=True)
    responseData = serializers.CharField(
        source="response_data", help_text="The redacted answer as JSON text, if it is recorded."
    )
    responseBytes = serializers.IntegerField(
        source="response_bytes", allow_null=True, help_text="How much of the answer left."
    )

    class Meta:
        model = AuditLog
        fields = (
            "id",
            "userId",
            "action",
            "resource",
            "method",
            "statusCode",
            "ipAddress",
            "userAgent",
            "requestData",
            "createdAt",
            "actor",
            "actorType",
            "source",
            "eventId",
            "occurredAt",
            "requestId",
            "route",
            "query",
            "durationMs",
            "responseData",
            "responseBytes",
            "details",
        )
        read_only_fields = fields


class PageQuerySerializer(serializers.Serializer[Any]):
    page = serializers.IntegerField(default=1, min_value=1, max_value=LARGEST_PAGE)
    limit = serializers.IntegerField(default=50, min_value=1, max_value=1000)
    asOf = serializers.IntegerField(
        source="as_of",
        required=False,
        min_value=0,
        max_value=2**63 - 1,
        help_text="The newest entry a listing may show: repeat the first page's value.",
    )
    format = serializers.ChoiceField(Format.choices, required=False)


class ExportQuerySerializer(serializers.Serializer[Any]):
    format = serializers.ChoiceField(Format.choices, default=Format.CSV)


class AuditLogPageSerializer(serializers.Serializer[Any]):
    logs = AuditLogSerializer(many=True)
    total = serializers.IntegerField()
    page = serializers.IntegerField()
    pages = serializers.IntegerField()
    asOf = serializers.IntegerField(source="as_of")


class EndpointCountSerializer(serializers.Serializer[Any]):
    resource = serializers.CharField()
    count = serializers.IntegerField()


class StatisticsSerializer(serializers.Serializer[Any]):
    totalLogs = serializers.IntegerField(source="total")
    byAction = serializers.DictField(source="by_action", child=serializers.IntegerField())
    byUser = serializers.DictField(source="by_user", child=serializers.IntegerField())
    topEndpoints = serializers.SerializerMethodField()

    def get_topEndpoints(self, statistics: Any) -> list[dict[str, Any]]:
        return [
            {"resource": resource, "count": count}
            for resource, count in statistics.top_endpoints.items()
        ]

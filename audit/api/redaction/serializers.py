"""The border of the look-up."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from audit.api.serializers import TimestampField

LONGEST_VALUE = 8_192


class LookupSerializer(serializers.Serializer[Any]):
    value = serializers.CharField(
        max_length=LONGEST_VALUE, trim_whitespace=False, help_text="The secret to look for."
    )
    startDate = serializers.DateTimeField(source="start", required=False)
    endDate = serializers.DateTimeField(source="end", required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        start, end = attrs.get("start"), attrs.get("end")
        if start and end and start >= end:
            raise serializers.ValidationError({"startDate": "startDate is not before endDate."})
        return attrs

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if isinstance(data, dict) and (unknown := sorted(set(data) - set(self.fields))):
            raise serializers.ValidationError(
                {str(name): "This is not a field of a look-up." for name in unknown}
            )
        fields: dict[str, Any] = super().to_internal_value(data)
        return fields


class OccurrencesSerializer(serializers.Serializer[Any]):
    tags = serializers.ListField(
        child=serializers.CharField(), help_text="One for each version of the key."
    )
    startDate = TimestampField(source="start")
    endDate = TimestampField(source="end")
    occurrences = serializers.IntegerField(source="count", help_text="Entries, up to 1,000.")
    isComplete = serializers.BooleanField(source="is_complete", help_text="No more than counted.")
    entries = serializers.ListField(
        child=serializers.IntegerField(), help_text="Ids of the newest, up to 20."
    )

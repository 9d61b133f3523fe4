"""The border of the documented endpoints: schedule, rotate, history, policy."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from rest_framework import serializers

from compliance_site.foundation.secret_text import SecretText
from secrets_rotation.models import Rotation, Run, RunState, Unit
from secrets_rotation.reading import Scheduled, history_status

LONGEST_SUPPLIED = 4_096


class Moment(serializers.DateTimeField):
    """RFC 3339 in UTC, in whole seconds, as the user's document prints it."""

    def to_representation(self, value: Any) -> str:
        return moment(value)


class SecretField(serializers.CharField):
    """A text that is a `SecretText` as soon as it is read, and is never written."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(write_only=True, trim_whitespace=False, **kwargs)

    def run_validation(self, data: Any = serializers.empty) -> Any:
        value = super().run_validation(data)
        return SecretText(value) if isinstance(value, str) else value


class ScheduledSerializer(serializers.Serializer[Scheduled]):
    secretType = serializers.CharField(source="secret.secret_type")
    secretName = serializers.CharField(source="secret.name")
    lastRotated = Moment(source="secret.last_rotated_at", allow_null=True)
    nextRotation = Moment(source="due_at")
    daysUntilRotation = serializers.IntegerField(source="days_left")
    status = serializers.CharField()


class ScheduleSerializer(serializers.Serializer[Any]):
    schedules = ScheduledSerializer(many=True)


class RotateSerializer(serializers.Serializer[Any]):
    secretType = serializers.CharField(max_length=50)
    secretName = serializers.CharField(max_length=100)
    newValue = SecretField(
        required=False,
        max_length=LONGEST_SUPPLIED,
        help_text="Left out, the console makes one, where the rotator can.",
    )


class RotatedSerializer(serializers.Serializer[Run]):
    """The answer to a rotation; `status` is `success` once the new value is current."""

    status = serializers.SerializerMethodField()
    secretType = serializers.CharField(source="secret.secret_type")
    secretName = serializers.CharField(source="secret.name")
    rotatedAt = serializers.SerializerMethodField()
    nextRotation = serializers.SerializerMethodField()
    runId = serializers.IntegerField(source="pk")
    state = serializers.ChoiceField(RunState.choices)

    def get_status(self, run: Run) -> str:
        return "success" if rotation_of(run) else "running"

    def get_rotatedAt(self, run: Run) -> str | None:
        rotation = rotation_of(run)
        return moment(rotation.rotated_at) if rotation else None

    def get_nextRotation(self, run: Run) -> str:
        return moment(self.context["next_rotation"])


class RotationSerializer(serializers.Serializer[Rotation]):
    id = serializers.IntegerField(source="pk")
    secretType = serializers.CharField(source="secret.secret_type")
    secretName = serializers.CharField(source="secret.name")
    rotatedAt = Moment(source="rotated_at")
    rotatedBy = serializers.IntegerField(source="rotated_by", allow_null=True)
    status = serializers.SerializerMethodField()
    runId = serializers.IntegerField(source="run_id")

    def get_status(self, rotation: Rotation) -> str:
        return history_status(rotation).value


class HistorySerializer(serializers.Serializer[Any]):
    history = RotationSerializer(many=True)


class HistoryQuerySerializer(serializers.Serializer[Any]):
    secretType = serializers.CharField(required=False, source="secret__policy")
    secretName = serializers.CharField(required=False, source="secret__name")
    limit = serializers.IntegerField(default=50, min_value=1, max_value=1_000)


class Days(serializers.IntegerField):
    """Whole days in JSON, a duration in Python."""

    def run_validation(self, data: Any = serializers.empty) -> Any:
        value = super().run_validation(data)
        return timedelta(days=value) if isinstance(value, int) else value

    def to_representation(self, value: Any) -> int:
        return int(value / timedelta(days=1))


class PolicyRulesSerializer(serializers.Serializer[Any]):
    """The rules of a policy or an override; what is left out stays as it is."""

    rotationIntervalDays = serializers.IntegerField(required=False, allow_null=True)
    rotationIntervalMonths = serializers.IntegerField(required=False, allow_null=True)
    gracePeriodDays = Days(
        source="grace", required=False, allow_null=True, min_value=0, max_value=3_650
    )
    autoRotate = serializers.BooleanField(source="auto_rotate", required=False, allow_null=True)
    windowStart = serializers.TimeField(source="window_start", required=False, allow_null=True)
    windowEnd = serializers.TimeField(source="window_end", required=False, allow_null=True)
    historyLength = serializers.IntegerField(
        source="history_length", required=False, allow_null=True
    )
    valueLength = serializers.IntegerField(source="value_length", required=False, allow_null=True)
    valueSymbols = serializers.CharField(
        source="value_symbols", required=False, allow_null=True, allow_blank=True, max_length=40
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Bring the interval's two spellings together; null is the type's interval."""
        is_given = {"rotationIntervalDays", "rotationIntervalMonths"} & attrs.keys()
        days = attrs.pop("rotationIntervalDays", None)
        months = attrs.pop("rotationIntervalMonths", None)
        if days is not None and months is not None:
            raise serializers.ValidationError(
                {"rotationIntervalMonths": "Give days or months, not both."}
            )
        if is_given:
            attrs |= {"interval": None, "interval_unit": None}
        if days is not None:
            attrs |= {"interval": days, "interval_unit": Unit.DAYS.value}
        if months is not None:
            attrs |= {"interval": months, "interval_unit": Unit.MONTHS.value}
        return attrs

    def to_representation(self, instance: Any) -> dict[str, Any]:
        shown = super().to_representation(instance)
        for unit, name in (
            (Unit.DAYS, "rotationIntervalDays"),
            (Unit.MONTHS, "rotationIntervalMonths"),
        ):
            shown[name] = instance.interval if instance.interval_unit == unit else None
        return shown


# The rules' names in JSON, for errors.
RULE_NAMES = {
    "interval": "rotationIntervalDays",
    "grace": "gracePeriodDays",
    "history_length": "historyLength",
    "window_start": "windowStart",
    "value_length": "valueLength",
    "value_symbols": "valueSymbols",
}


class PolicySerializer(PolicyRulesSerializer):
    secretType = serializers.CharField(source="secret_type", max_length=50)


class PolicyListSerializer(serializers.Serializer[Any]):
    policies = PolicySerializer(many=True)


class EffectSerializer(serializers.Serializer[Any]):
    secretName = serializers.CharField(source="secret_name")
    nextRotation = Moment(source="due_at")
    nextRotationThen = Moment(source="due_at_then")
    becomesDue = serializers.BooleanField()


class PreviewSerializer(serializers.Serializer[Any]):
    effects = EffectSerializer(many=True)


def moment(value: datetime) -> str:
    return f"{value.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def rotation_of(run: Run) -> Rotation | None:
    """Return the history's entry of a run, None before its value became current."""
    rotation: Rotation | None = getattr(run, "rotation", None)
    return rotation

"""The border of the backups."""

from __future__ import annotations

from datetime import UTC
from typing import Any

from rest_framework import serializers

from recovery.backups.pins import LONGEST_REASON
from recovery.models import Backup, Verification

MOST_PER_PAGE = 200
LARGEST_PAGE = 1_000_000


class Moment(serializers.DateTimeField):
    """RFC 3339 in UTC, in whole seconds."""

    def to_representation(self, value: Any) -> str:
        return f"{value.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


class CopySerializer(serializers.Serializer[Any]):
    store = serializers.CharField()
    isThere = serializers.BooleanField()
    reason = serializers.CharField(help_text="Why it is not there.")


class BackupSerializer(serializers.Serializer[Backup]):
    """A backup in a list."""

    id = serializers.CharField(source="pk")
    database = serializers.CharField()
    kind = serializers.CharField()
    state = serializers.CharField()
    startedAt = Moment(source="started_at")
    finishedAt = Moment(source="finished_at", allow_null=True)
    sizeBytes = serializers.IntegerField(source="size_bytes", allow_null=True)
    verifiedAt = Moment(source="verified_at", allow_null=True)
    pinnedAt = Moment(source="pinned_at", allow_null=True)
    pinReason = serializers.CharField(source="pin_reason")
    copies = serializers.SerializerMethodField()
    reason = serializers.CharField(help_text="Why it failed.")
    actorType = serializers.CharField(source="actor_type")
    actor = serializers.CharField()

    def get_copies(self, backup: Backup) -> list[dict[str, Any]]:
        return [
            {"store": store, "isThere": not reason, "reason": reason}
            for store, reason in backup.copies.items()
        ]


class BackupPageSerializer(serializers.Serializer[Any]):
    backups = BackupSerializer(many=True)
    total = serializers.IntegerField()
    page = serializers.IntegerField()
    pages = serializers.IntegerField()


class PageQuerySerializer(serializers.Serializer[Any]):
    page = serializers.IntegerField(default=1, min_value=1, max_value=LARGEST_PAGE)
    limit = serializers.IntegerField(default=50, min_value=1, max_value=MOST_PER_PAGE)


class VerificationStepSerializer(serializers.Serializer[Any]):
    step = serializers.CharField()
    seconds = serializers.FloatField()


class VerificationSerializer(serializers.Serializer[Verification]):
    startedAt = Moment(source="started_at")
    finishedAt = Moment(source="finished_at", allow_null=True)
    passed = serializers.BooleanField(allow_null=True)
    reason = serializers.CharField()
    steps = VerificationStepSerializer(source="report.steps", many=True, default=())
    actor = serializers.CharField()


class ReasonSerializer(serializers.Serializer[Any]):
    rule = serializers.CharField()
    words = serializers.CharField()


class RetentionSerializer(serializers.Serializer[Any]):
    isKept = serializers.BooleanField(source="is_kept")
    reasons = ReasonSerializer(many=True)


class TableSerializer(serializers.Serializer[Any]):
    schema = serializers.CharField()
    name = serializers.CharField()
    rows = serializers.IntegerField()


class ManifestSerializer(serializers.Serializer[Any]):
    """What was signed of a backup."""

    takenAt = Moment(source="taken_at")
    dbname = serializers.CharField()
    file = serializers.CharField()
    sha256 = serializers.CharField()
    recipients = serializers.ListField(child=serializers.CharField())
    signer = serializers.CharField()
    program = serializers.CharField()
    serverVersion = serializers.IntegerField(source="facts.server_version")
    databaseBytes = serializers.IntegerField(source="facts.size_bytes")
    extensions = serializers.DictField(source="facts.extensions")
    roles = serializers.ListField(source="facts.roles", child=serializers.CharField())
    masterKeys = serializers.ListField(source="master_keys", child=serializers.CharField())


class BackupDetailSerializer(BackupSerializer):
    """A backup with all that is known of it."""

    manifest = ManifestSerializer(allow_null=True)
    manifestProblem = serializers.CharField(help_text="Why the manifest cannot be trusted.")
    tables = TableSerializer(many=True, help_text="The largest.")
    tableCount = serializers.IntegerField()
    rowCount = serializers.IntegerField()
    verifications = VerificationSerializer(many=True)
    retention = RetentionSerializer(allow_null=True)


class NewBackupSerializer(serializers.Serializer[Any]):
    database = serializers.CharField(
        max_length=80, help_text="`console`, or a name of BACKUP_DATABASES."
    )


class PinSerializer(serializers.Serializer[Any]):
    reason = serializers.CharField(max_length=LONGEST_REASON)

    def validate_reason(self, reason: str) -> str:
        if not reason.isprintable():
            raise serializers.ValidationError("Say why in one line, without control characters.")
        return reason


class QueuedVerificationSerializer(serializers.Serializer[Any]):
    id = serializers.CharField()
    verification = serializers.CharField()


class FindingSerializer(serializers.Serializer[Any]):
    subject = serializers.CharField()
    level = serializers.ChoiceField(["ok", "warning", "refusal"])
    text = serializers.CharField()


class RowChangeSerializer(serializers.Serializer[Any]):
    """A table; `now` or `after` is null where there is no such table."""

    table = serializers.CharField()
    now = serializers.IntegerField(allow_null=True)
    after = serializers.IntegerField(allow_null=True)
    isEstimate = serializers.BooleanField()


class RowChangesSerializer(serializers.Serializer[Any]):
    changes = RowChangeSerializer(many=True, help_text="At most ten, the largest first.")
    more = serializers.IntegerField(help_text="How many other tables change.")
    notes = serializers.ListField(child=serializers.CharField())


class RestorePlanSerializer(serializers.Serializer[Any]):
    id = serializers.CharField()
    database = serializers.CharField()
    takenAt = serializers.CharField()
    exitCode = serializers.IntegerField(help_text="0 all is well, 1 warnings, 2 it cannot be done.")
    findings = FindingSerializer(many=True)
    steps = serializers.ListField(
        child=serializers.CharField(), help_text="None where it cannot be done."
    )
    rows = RowChangesSerializer(
        allow_null=True, help_text="Null where it cannot be done, or there is no live database."
    )

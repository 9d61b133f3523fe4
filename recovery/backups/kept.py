"""Which rule of retention keeps a backup, or would take it away."""

from __future__ import annotations

from datetime import datetime

from django.db.models.fields.json import KeyTextTransform
from django.utils import timezone

from recovery.backups import retention
from recovery.backups.retention import Candidate, Decision, Policy
from recovery.models import Backup, BackupState


def decision(backup: Backup, now: datetime | None = None) -> Decision | None:
    """Return what retention would decide about a backup now; None for one that is not stored."""
    if backup.state != BackupState.STORED:
        return None
    candidates = _candidates(backup.database, backup.kind)
    decided = retention.decide(candidates, Policy.configured(), now or timezone.now())
    return next((each for each in decided if each.backup.id == backup.pk), None)


def _candidates(database: str, kind: str) -> list[Candidate]:
    # Not the manifests: each may have thousands of tables.
    rows = (
        Backup.objects.stored()
        .filter(database=database, kind=kind)
        .annotate(taken_at=KeyTextTransform("taken_at", "manifest"))
        .values_list("pk", "taken_at", "verified_at", "pinned_at", "size_bytes")
    )
    return [
        Candidate(
            id=pk,
            database=database,
            taken_at=datetime.fromisoformat(taken_at),
            is_verified=verified_at is not None,
            is_pinned=pinned_at is not None,
            kind=kind,
            size=size or 0,
        )
        for pk, taken_at, verified_at, pinned_at, size in rows
    ]

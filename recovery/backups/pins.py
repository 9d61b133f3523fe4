"""Backups that must stay, whatever retention says."""

from __future__ import annotations

from datetime import UTC, datetime

import audit
from audit.models import Action
from recovery.backups import catalogue
from recovery.exceptions import RefusedError
from recovery.models import Backup, BackupState

LONGEST_REASON = 200


def pin(backup: Backup, reason: str) -> dict[str, str]:
    """Keep a backup until it is unpinned; return the stores that could not be told, and why."""
    _check(backup, reason)
    now = datetime.now(UTC)
    body = {"pinned_at": now.isoformat(), "reason": reason}
    failures = catalogue.write_fact(backup, catalogue.PIN, body)
    backup.pinned_at, backup.pin_reason = now, reason
    backup.save(update_fields=["pinned_at", "pin_reason"])
    _record(backup, pinned=True, reason=reason)
    return failures


def unpin(backup: Backup) -> dict[str, str]:
    """Let retention decide about a backup again; returns like `pin`."""
    is_there = backup.state != BackupState.MISSING
    failures = catalogue.remove_fact(backup, catalogue.PIN) if is_there else {}
    backup.pinned_at, backup.pin_reason = None, ""
    backup.save(update_fields=["pinned_at", "pin_reason"])
    _record(backup, pinned=False)
    return failures


def _check(backup: Backup, reason: str) -> None:
    if backup.state != BackupState.STORED:
        raise RefusedError(f"Backup {backup.pk} is {backup.state}: only a stored one can be kept.")
    if not reason.strip() or len(reason) > LONGEST_REASON or not reason.isprintable():
        raise RefusedError(f"Say why in one line of at most {LONGEST_REASON} characters.")


def _record(backup: Backup, **details: object) -> None:
    audit.record(Action.PIN, resource=f"/backups/{backup.pk}", details=details)

"""Base backups as commands and the schedule make and remove them: each is an entry of the audit log."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from django.conf import settings

from audit.capture.recording import record
from audit.models import Action
from compliance_site.foundation.embedded.exceptions import EmbeddedError
from recovery.exceptions import BusyError, RecoveryError, StoreError
from recovery.physical import base_files, configured, retention
from recovery.physical.engine import BaseBackup
from recovery.physical.retention import Unneeded
from recovery.without_console import without_console

RESOURCE = "/base-backups"


def create(name: str, *, incremental: bool) -> BaseBackup:
    """Make a base backup of a database's server; raise `RecoveryError`.

    `BusyError`, when another process makes or removes some, counts as no attempt.
    """
    engine = configured.engine(name)
    try:
        with _writing():
            backup = engine.back_up(incremental=incremental)
    except BusyError:
        raise
    except RecoveryError as exc:
        _record_attempt(RESOURCE, {"database": name, "success": False, "reason": str(exc)})
        raise
    details = {"database": name, "success": True, "kind": backup.kind, "bytes": backup.size_bytes}
    _record_attempt(f"{RESOURCE}/{backup.id}", details)
    return backup


def unneeded(name: str, now: datetime) -> Unneeded:
    """Return what `prune` would remove now."""
    return retention.unneeded(configured.archive(name), settings.BACKUP_RETENTION_DAYS, now)


def prune(name: str, now: datetime) -> Unneeded:
    """Remove what BACKUP_RETENTION_DAYS no longer needs, and what interruptions left; return it.

    Raise `BusyError` while a base backup is made, which may build on what would go.
    """
    archive = configured.archive(name)
    # Nobody's yet: nothing is made there.
    archive.identity()
    with _writing():
        lock = archive.lock("base", "making or removing base backups")
        try:
            base_files.remove_drafts(archive)
            gone = unneeded(name, now)
            # Recorded before the files, which no transaction brings back, are removed.
            for backup in gone.backups:
                details = {"database": name, "kind": backup.kind, "bytes": backup.size_bytes}
                record(Action.PRUNE, resource=f"{RESOURCE}/{backup.id}", details=details)
            retention.remove(archive, gone)
        finally:
            os.close(lock)
    return gone


def _record_attempt(resource: str, details: dict[str, object]) -> None:
    with without_console("a base backup is not in the audit log."):
        record(Action.BACKUP, resource=resource, details=details)


@contextmanager
def _writing() -> Iterator[None]:
    """Raise `StoreError` for an archive that cannot be written."""
    try:
        yield
    except EmbeddedError as exc:
        raise StoreError(str(exc)) from None
    except OSError as exc:
        raise StoreError(
            f"The archive cannot be written: {exc.strerror} ({exc.filename})."
        ) from None

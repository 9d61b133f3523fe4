"""Backups that somebody asked for, and a worker makes: seen from the moment they are asked for."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from django.db import IntegrityError, transaction
from django.utils import timezone

from audit.capture.actors import current
from audit.capture.recording import record
from audit.models import Action
from recovery import databases
from recovery.backups import create
from recovery.backups.attempts import Attempt, new_id
from recovery.backups.progress import Progress
from recovery.databases import Database
from recovery.exceptions import BusyError, RecoveryError, RefusedError
from recovery.models import Backup, BackupKind, BackupState

# Longer than the longest backup of another database that the only worker may be at.
WAITS = timedelta(hours=6)
logger = logging.getLogger(__name__)

UNTAKEN = "No worker began it in time: does one serve the queue `recovery`?"
UNSENT = "The queue of tasks could not be reached, so no worker heard of it."


def request(database: Database) -> Backup:
    """Enter a backup for a worker to make; raise `BusyError` naming one that waits already."""
    actor = current().actor()
    try:
        with transaction.atomic():
            backup = Backup.objects.create(
                id=new_id(),
                database=database.name,
                state=BackupState.QUEUED,
                actor_type=actor.type,
                actor=actor.name[:200],
            )
            details = {"database": database.name, "requested": True}
            record(Action.BACKUP, resource=f"/backups/{backup.pk}", details=details)
    except IntegrityError:
        raise BusyError(_waiting(database)) from None
    return backup


def make(backup_id: str) -> bool:
    """Make a backup that waits; return False when another one of its database is under way.

    One that was begun or given up meanwhile is left alone: messages may come twice.
    """
    waiting = Backup.objects.filter(pk=backup_id, state=BackupState.QUEUED).first()
    if waiting is None:
        return True
    attempt = Attempt(waiting.database, waiting.pk)
    try:
        target = databases.database(waiting.database)
    except RecoveryError as exc:
        _failed(waiting, str(exc))
        return True
    try:
        create.make(attempt, target, Progress())
    except BusyError:
        return False
    except RecoveryError as exc:
        # It is in the catalogue and a notice.
        _log(waiting, str(exc))
    return True


def unsent(backup: Backup) -> None:
    """Enter as failed what no worker will hear of."""
    _failed(backup, UNSENT)


def give_up_waiting(now: datetime | None = None) -> list[str]:
    """Enter as failed what waited too long, and tell people; return the ids."""
    before = (now or timezone.now()) - WAITS
    waiting = Backup.objects.filter(state=BackupState.QUEUED, started_at__lt=before)
    for backup in waiting:
        _failed(backup, UNTAKEN)
    return [backup.pk for backup in waiting]


def refuse_unless_stored(backup: Backup) -> None:
    """Raise `RefusedError` for what cannot be restored: not stored, or of another kind."""
    if backup.state != BackupState.STORED:
        raise RefusedError(
            f"Backup {backup.pk} is {backup.state}: only a stored one can be restored."
        )
    if backup.kind != BackupKind.LOGICAL:
        raise RefusedError(
            f"Backup {backup.pk} is a base backup: `manage.py restore pitr` restores from it."
        )


def _failed(backup: Backup, reason: str) -> None:
    Attempt(backup.database, backup.pk).failed(reason)
    _log(backup, reason)


def _log(backup: Backup, reason: str) -> None:
    logger.error("Backup %s of %s failed: %s", backup.pk, backup.database, reason)


def _waiting(database: Database) -> str:
    queued = Backup.objects.filter(database=database.name, state=BackupState.QUEUED).first()
    what = f"Backup {queued.pk}" if queued else "A backup"
    return f"{what} of {database.name} waits for a worker already."

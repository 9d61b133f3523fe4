"""The table's rows of backups being made: what runs, what failed and why.

The table is an index. When the console's own database is away, another one is still backed up,
and the next look into the stores enters it.
"""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from django.db import transaction
from django.db.models.functions import Now

import audit
from audit.capture.actors import current
from audit.models import Action
from compliance_site.foundation.notices.models import Urgency
from compliance_site.foundation.notices.outbox import notify
from recovery.backups import index, lock
from recovery.backups.manifest import Manifest
from recovery.databases import Database, databases
from recovery.exceptions import ServerAwayError
from recovery.models import Backup, BackupKind, BackupState
from recovery.stores.base import Store
from recovery.without_console import without_console

DIED = "The process that made it ended before it was done."
VANISHED = (
    "{} is not there, and had backups: is its disk not mounted? Make the folder to begin anew."
)
MISSED = (
    "the catalogue, the audit trail and notices miss this backup; `manage.py backup list` enters "
    "it later, from its store."
)
LONGEST_REASON = 500

logger = logging.getLogger(__name__)


def new_id(now: datetime | None = None) -> str:
    """Return an id that no other backup has, whatever the clock does: `20261123T020000Z-3f9ac1`."""
    return f"{now or datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"


@dataclass
class Attempt:
    """One backup being made."""

    database: str
    id: str = field(default_factory=new_id)

    def running(self) -> None:
        with _catalogue():
            # One that was asked for is there already, with whoever asked and when.
            self._enter(state=BackupState.RUNNING, started_at=Now())

    def stored(self, manifest: Manifest, content: bytes, copies: dict[str, str]) -> None:
        """Enter the stored backup, and tell when a store is without it."""
        missing = [f"{store}: {reason}" for store, reason in copies.items() if reason]
        with _catalogue(), transaction.atomic():
            self._enter(
                state=BackupState.STORED,
                finished_at=manifest.finished_at,
                size_bytes=manifest.size,
                manifest=json.loads(content),
                copies=copies,
                reason="",
            )
            self._record(success=True, size=manifest.size, copies=copies)
            if missing:
                self._tell(
                    "incomplete",
                    f"Backup of {self.database} is missing in a store",
                    "It counts, and is in the others.\n" + "\n".join(missing),
                )

    def failed(self, reason: str) -> None:
        """Enter the failure, and tell people at once; whoever called says it or logs it."""
        with _catalogue(), transaction.atomic():
            self._enter(state=BackupState.FAILED, finished_at=Now(), reason=reason[:LONGEST_REASON])
            self._record(success=False, reason=reason)
            subject = f"Backup of {self.database} failed"
            self._tell("failed", subject, f"Backup {self.id} was not made.\nReason: {reason}")

    def _enter(self, **fields: object) -> None:
        # The catalogue may have been away when it began, or have failed to be reached before.
        who = current().actor()
        made = {"database": self.database, "actor_type": who.type, "actor": who.name[:200]}
        Backup.objects.update_or_create(
            pk=self.id, defaults=fields, create_defaults={**made, **fields}
        )

    def _record(self, **details: object) -> None:
        details |= {"database": self.database}
        audit.record(Action.BACKUP, resource=f"/backups/{self.id}", details=details)

    def _tell(self, kind: str, subject: str, body: str) -> None:
        notify(
            f"backup.{kind}",
            key=f"backup.{kind}|{self.id}",
            subject=subject,
            body=body,
            urgency=Urgency.URGENT,
        )


def expected_bytes(database: str, size: int) -> int | None:
    """Guess the size of a database's dump by that of the last backup; None for the first one."""
    last = None
    with _catalogue(quiet=True):
        last = Backup.objects.stored().filter(database=database, kind=BackupKind.LOGICAL).first()
    if last is None or last.size_bytes is None or last.manifest is None:
        return None
    before = max(1, int(last.manifest["facts"]["size_bytes"]))
    return last.size_bytes * size * 6 // (before * 5)


def failed_ids(database: str) -> list[str]:
    """Return the backups of a database of which nothing should be in a store."""
    rows = Backup.objects.filter(
        database=database, kind=BackupKind.LOGICAL, state=BackupState.FAILED
    )
    with _catalogue(quiet=True):
        return list(rows.values_list("pk", flat=True))
    return []


def vanished(stores: Sequence[Store]) -> dict[str, str]:
    """Return the places that are gone and had backups, and why nothing is written there."""
    gone = {}
    for store in (store for store in stores if not store.is_there()):
        with _catalogue(quiet=True):
            if Backup.objects.stored().filter(copies__contains={store.name: ""}).exists():
                gone[store.name] = VANISHED.format(store.name)
    return gone


def close_dead(database: str | None = None) -> list[str]:
    """Enter as failed what still says that it runs while nobody has its lock; return the ids.

    What is on a server that is away stays: its backup may be alive on another machine.
    """
    running: list[Backup] = []
    with _catalogue(quiet=True):
        rows = Backup.objects.filter(state=BackupState.RUNNING, kind=BackupKind.LOGICAL)
        running = list(rows if database is None else rows.filter(database=database))
    known = databases()
    dead = [backup for backup in running if _is_dead(known.get(backup.database))]
    closed = []
    for backup in dead:
        if not _was_stored(backup):
            logger.error("Backup %s of %s failed: %s", backup.pk, backup.database, DIED)
            Attempt(backup.database, backup.pk).failed(DIED)
            closed.append(backup.pk)
    return closed


def _was_stored(backup: Backup) -> bool:
    """Enter a backup that was whole when its process died; say whether it was."""
    Backup.objects.filter(pk=backup.pk).update(state=BackupState.FAILED)
    index.refresh(backup.database)
    backup.refresh_from_db()
    return backup.state == BackupState.STORED


def _is_dead(database: Database | None) -> bool:
    if database is None:
        # Not configured any more: nobody makes it.
        return True
    try:
        return not lock.is_held(database)
    except ServerAwayError:
        return False


def _catalogue(*, quiet: bool = False) -> AbstractContextManager[None]:
    """Go on without the console's database when it is away."""
    return without_console(MISSED, level=logging.DEBUG if quiet else logging.WARNING)

"""Whether a backup can be restored: by restoring it, into a scratch database beside the live one.

Nothing else makes a backup a verified one. That is a signed fact beside it in every store.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.db import transaction
from django.db.models.functions import Now

from audit.capture.actors import current
from audit.capture.recording import record
from audit.models import Action
from compliance_site.foundation.notices.models import Urgency
from compliance_site.foundation.notices.outbox import notify
from recovery.backups import catalogue, contents, source
from recovery.backups.manifest import Manifest
from recovery.backups.snapshot import only_tables
from recovery.backups.source import Source
from recovery.databases import Database, database, databases
from recovery.exceptions import (
    BusyError,
    ConfigurationError,
    DamagedError,
    RecoveryError,
    RefusedError,
    ServerAwayError,
    StoreError,
)
from recovery.models import Backup, BackupKind, Verification
from recovery.restore import beside, compare, plan, properties
from recovery.restore.scratch import drop_leftovers, scratch
from recovery.restore.swap import maintenance

# They say nothing about the backup: it was not looked at to the end.
NO_VERDICT = (BusyError, ConfigurationError, RefusedError, ServerAwayError, StoreError)
LONGEST_REASON = 500
WITHOUT_RIGHTS = "Owners and rights were not compared; these roles are not on the server: "

type Say = Callable[[str], None]


@dataclass
class Report:
    """What a verification did and found; `passed` is None while nobody can tell."""

    backup_id: str
    database: str
    passed: bool | None = None
    reason: str = ""
    tables: int = 0
    rows: int = 0
    notes: list[str] = field(default_factory=list)
    # Seconds by step.
    steps: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str, say: Say) -> Iterator[None]:
        started = time.monotonic()
        yield
        self.steps[name] = round(time.monotonic() - started, 3)
        say(f"{self.backup_id}: {name}.")

    def plain(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "id": self.backup_id,
            "database": self.database,
            "passed": self.passed,
            "reason": self.reason,
            "tables": self.tables,
            "rows": self.rows,
            "notes": self.notes,
            # A list: the database keeps no order of names.
            "steps": [{"step": name, "seconds": took} for name, took in self.steps.items()],
        }


def verify(backup_id: str, say: Say = lambda text: None) -> Report:
    """Restore a backup into a scratch database and compare; tell, record and note what was found.

    Raise `RecoveryError` when it could not be tried, which is no verdict on the backup.
    """
    found = source.find(backup_id)
    report = Report(found.manifest.id, found.manifest.database)
    row = _begun(found)
    try:
        _try(found, report, say)
        report.passed = True
    except NO_VERDICT as exc:
        report.reason = str(exc)
        _end(row, report)
        raise
    except RecoveryError as exc:
        report.passed, report.reason = False, str(exc)
        # Retention must not keep it for the last that works. A wrong key says nothing of it.
        if isinstance(exc, DamagedError):
            report.notes += catalogue.record_damaged(found.backup).values()
    if report.passed:
        failures = catalogue.record_verified(found.backup, datetime.now(UTC), report.plain())
        report.notes += failures.values()
    _end(row, report)
    return report


def verify_newest(say: Say = lambda text: None) -> list[Report]:
    """Verify the newest backup of every database that has one."""
    stored = Backup.objects.stored().filter(kind=BackupKind.LOGICAL)
    newest = [stored.filter(database=name).first() for name in databases()]
    return _each([backup.pk for backup in newest if backup], say)


def verify_unverified(say: Say = lambda text: None) -> list[Report]:
    """Verify every stored backup that was never verified, the oldest first."""
    waiting = Backup.objects.stored().filter(kind=BackupKind.LOGICAL, verified_at=None)
    return _each(list(waiting.order_by("started_at").values_list("pk", flat=True)), say)


def _each(backup_ids: list[str], say: Say) -> list[Report]:
    """Verify them; one that could not be tried keeps none of the others from it."""
    reports = []
    for backup_id in backup_ids:
        try:
            reports.append(verify(backup_id, say))
        except RecoveryError as exc:
            # It is in the catalogue, the log and a notice.
            reports.append(Report(backup_id, "", reason=str(exc)))
    return reports


def _try(found: Source, report: Report, say: Say) -> None:
    """Do it; raise `RecoveryError` for whatever does not come out as it was."""
    manifest = found.manifest
    target = database(manifest.database)
    for name in drop_leftovers(target):
        say(f"Dropped {name}, which a killed verification left.")
    with scratch(target) as (empty, folder):
        with report.step("unpacked and decrypted, every byte checked", say):
            first, *others = found.copies()
            contents.unpack(found, folder, first)
            for store in others:
                contents.check(found, store)
        with report.step("restored into a scratch database", say):
            with_rights = _fill(empty, manifest, folder, report, say)
        with report.step("compared with the manifest", say):
            wrong = compare.differences(empty, manifest, with_rights=with_rights)
        if wrong:
            raise DamagedError(f"What was restored is not what was backed up: {' '.join(wrong)}")
    tables = only_tables(manifest.tables)
    report.tables, report.rows = len(tables), sum(table.rows for table in tables)


def _fill(empty: Database, manifest: Manifest, folder: Path, report: Report, say: Say) -> bool:
    """Restore; return whether owners and rights came along."""
    with maintenance(empty).connect() as connection:
        missing = plan.missing_roles(manifest, connection)
    if missing:
        report.notes.append(WITHOUT_RIGHTS + ", ".join(missing))
    beside.make(empty, manifest.facts)
    size = manifest.facts.size_bytes
    beside.load(empty, folder / contents.DUMP, with_rights=not missing, size=size, say=say)
    if not missing:
        properties.give(empty, contents.with_settings(folder, manifest.facts))
    return not missing


def _begun(found: Source) -> Verification:
    actor = current().actor()
    return Verification.objects.create(
        backup_id=found.manifest.id, actor_type=actor.type, actor=actor.name[:200]
    )


def _end(row: Verification, report: Report) -> None:
    """Write the outcome down, in the catalogue and in the audit log; tell of a bad one."""
    with transaction.atomic():
        Verification.objects.filter(pk=row.pk).update(
            finished_at=Now(),
            passed=report.passed,
            reason=report.reason[:LONGEST_REASON],
            report=report.plain(),
        )
        record(Action.VERIFY, resource=f"/backups/{report.backup_id}", details=report.plain())
        if not report.passed:
            _tell(report)


def _tell(report: Report) -> None:
    what = "failed" if report.passed is False else "could not be done"
    notify(
        "backup.verification",
        key=f"backup.verification|{report.backup_id}|{what}|{datetime.now(UTC):%Y-%m-%d}",
        subject=f"Verification of a backup of {report.database} {what}",
        body=f"Backup {report.backup_id}.\nReason: {report.reason}\n"
        "Until one is verified, nobody knows that it can be restored.",
        urgency=Urgency.URGENT,
    )

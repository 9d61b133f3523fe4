"""All that is known of one backup, for whoever looks at it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from recovery.backups import catalogue, kept
from recovery.backups.manifest import Manifest, TableFacts
from recovery.backups.retention import Decision
from recovery.backups.snapshot import only_tables
from recovery.exceptions import RecoveryError
from recovery.models import Backup, BackupState, Verification

MOST_TABLES = 100
MOST_VERIFICATIONS = 20


@dataclass(frozen=True)
class Details:
    """A backup, its manifest if its signature fits, and what became of it."""

    backup: Backup
    manifest: Manifest | None
    # Why there is a manifest that nobody should believe.
    problem: str

    @cached_property
    def tables(self) -> list[TableFacts]:
        """Return the tables, those with the most rows first."""
        tables = only_tables(self.manifest.tables if self.manifest else ())
        return sorted(tables, key=lambda table: (-table.rows, table.schema, table.name))

    @property
    def largest_tables(self) -> list[TableFacts]:
        return self.tables[:MOST_TABLES]

    @property
    def rows(self) -> int:
        return sum(table.rows for table in self.tables)

    @cached_property
    def verifications(self) -> list[Verification]:
        return list(self.backup.verifications.all()[:MOST_VERIFICATIONS])

    @cached_property
    def retention(self) -> Decision | None:
        return kept.decision(self.backup)


def details(backup: Backup) -> Details:
    """Look at everything; the manifest's signature is checked anew."""
    if backup.manifest is None:
        return Details(backup, None, "")
    try:
        return Details(backup, catalogue.manifest_of(backup), "")
    except RecoveryError as exc:
        return Details(backup, None, str(exc))


def is_under_way(backup: Backup) -> bool:
    return backup.state in (BackupState.QUEUED, BackupState.RUNNING)

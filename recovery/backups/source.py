"""A stored backup as restores read it; found without the console's database when that is lost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

from django.db import DatabaseError, InterfaceError

from recovery import stores
from recovery.backups import catalogue
from recovery.backups.index import ID
from recovery.backups.manifest import LONGEST, Manifest, parse
from recovery.databases import databases
from recovery.exceptions import StoreError, UnknownBackupError
from recovery.models import Backup
from recovery.stores.base import Store


@dataclass(frozen=True)
class Source:
    """A backup's row, which may be in no table, and its manifest, whose signature fits."""

    backup: Backup
    manifest: Manifest

    def copies(self) -> list[Store]:
        """Return the stores that have it; raise `StoreError` when none has."""
        if found := catalogue.copies_of(self.backup):
            return found
        raise StoreError(f"No configured store has backup {self.manifest.id}.")

    @contextmanager
    def opened(self, store: Store) -> Iterator[BinaryIO]:
        """Lend the sealed bytes of one copy."""
        with store.open(f"{self.manifest.database}/{self.manifest.file}") as stream:
            yield stream


def find(backup_id: str) -> Source:
    """Return a backup by its id; raise `UnknownBackupError`, `DamagedError` or `SealError`."""
    try:
        backup = catalogue.find(backup_id)
    except (DatabaseError, InterfaceError):
        # The console's own database may be what has to be restored.
        backup = _in_stores(backup_id)
    return Source(backup, catalogue.manifest_of(backup))


def _in_stores(backup_id: str) -> Backup:
    """Look for the manifest in every store; the stores are the truth."""
    if not ID.fullmatch(backup_id):
        raise UnknownBackupError("There is no backup with this id.")
    for database in databases():
        contents = {
            store.name: content
            for store in stores.stores()
            if (content := _manifest(store, f"{database}/{backup_id}.json"))
        }
        for content in contents.values():
            parse(content)
            copies = dict.fromkeys(contents, "")
            return Backup(
                id=backup_id, database=database, manifest=json.loads(content), copies=copies
            )
    raise UnknownBackupError(
        "No store has a backup with this id, and the console's own table of them cannot be read."
    )


def _manifest(store: Store, name: str) -> bytes | None:
    try:
        with store.open(name) as stream:
            return stream.read(LONGEST)
    except StoreError:
        return None

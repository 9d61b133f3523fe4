"""Where backups are kept: folders of this machine and buckets that speak S3."""

from __future__ import annotations

from pathlib import Path

from django.conf import settings

from recovery.exceptions import ConfigurationError, StoreError
from recovery.stores.base import Store
from recovery.stores.local import LocalStore
from recovery.stores.s3 import S3Store


def stores() -> tuple[Store, ...]:
    """Return the places that BACKUP_STORAGE_PATH names; raise `ConfigurationError`."""
    entries = settings.BACKUP_STORAGE_PATH
    if not entries:
        raise ConfigurationError(
            "BACKUP_STORAGE_PATH is empty: name at least one absolute folder or s3://bucket/prefix."
        )
    found = tuple(_store(place, entry) for place, entry in enumerate(entries, 1))
    if len({store.name for store in found}) < len(found):
        raise ConfigurationError("BACKUP_STORAGE_PATH names a place twice.")
    return found


def named(name: str) -> Store:
    """Return the store of this name; raise `StoreError` when it is not configured any more."""
    for store in stores():
        if store.name == name:
            return store
    raise StoreError(f"{name} is not in BACKUP_STORAGE_PATH.")


def _store(place: int, entry: str) -> Store:
    if entry.startswith("s3://"):
        return S3Store.of(entry, place)
    path = Path(entry)
    if not path.is_absolute() or ".." in path.parts:
        raise ConfigurationError(
            f"BACKUP_STORAGE_PATH: entry {place} must be an absolute folder or s3://bucket/prefix."
        )
    return LocalStore(path)

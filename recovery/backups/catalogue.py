"""Which backups there are. The stores are the truth; the table is their index, and remembers failures."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Any, BinaryIO

from recovery import stores
from recovery.backups import facts
from recovery.backups.index import ID, PIN, VERIFIED, refresh
from recovery.backups.manifest import Manifest, parse
from recovery.exceptions import StoreError, UnknownBackupError
from recovery.models import Backup, BackupState
from recovery.stores.base import Store

__all__ = [
    "PIN",
    "VERIFIED",
    "find",
    "manifest_of",
    "open_stored",
    "record_damaged",
    "record_verified",
    "refresh",
]


def find(backup_id: str) -> Backup:
    """Return a backup by its id; raise `UnknownBackupError` naming the nearest."""
    if ID.fullmatch(backup_id):
        backup = Backup.objects.filter(pk=backup_id).first()
        # What is missing may have come back.
        if backup is None or backup.state == BackupState.MISSING:
            refresh(backup.database if backup else None)
            backup = Backup.objects.filter(pk=backup_id).first()
        if backup:
            return backup
    known = list(Backup.objects.values_list("pk", flat=True))
    nearest = get_close_matches(backup_id[:80], known, 1)
    hint = f" Did you mean {nearest[0]}?" if nearest else ""
    raise UnknownBackupError(
        f"There is no backup with this id.{hint} `manage.py backup list` shows all."
    )


def manifest_of(backup: Backup) -> Manifest:
    """Return what was signed of a stored backup; raise `DamagedError` or `SealError`."""
    if backup.manifest is None:
        raise UnknownBackupError(f"Backup {backup.pk} is not stored: {backup.reason or 'it runs'}")
    return parse(json.dumps(backup.manifest).encode())


@contextmanager
def open_stored(backup: Backup) -> Iterator[BinaryIO]:
    """Lend the sealed bytes from the first store that gives them; raise `StoreError` for none."""
    name = f"{backup.database}/{manifest_of(backup).file}"
    reasons = []
    with ExitStack() as stack:
        for store in copies_of(backup):
            try:
                stream = stack.enter_context(store.open(name))
                break
            except StoreError as exc:
                reasons.append(str(exc))
        else:
            raise StoreError(f"No store gives backup {backup.pk}. {' '.join(reasons)}".strip())
        yield stream


def copies_of(backup: Backup) -> list[Store]:
    """Return the configured stores that have a backup, in their order."""
    return [store for store in stores.stores() if backup.copies.get(store.name) == ""]


def record_verified(backup: Backup, at: datetime, report: Mapping[str, Any]) -> dict[str, str]:
    """Say, beside the backup and in the table, that a restore of it was compared and fits.

    Return the stores that could not be told, and why; raise `StoreError` when none could.
    """
    at = at.astimezone(UTC)
    failures = write_fact(backup, VERIFIED, {"verified_at": at.isoformat(), "report": report})
    Backup.objects.filter(pk=backup.pk).update(verified_at=at)
    return failures


def record_damaged(backup: Backup) -> dict[str, str]:
    """Take back that a backup was verified: it does not restore any more; returns as `write_fact`."""
    Backup.objects.filter(pk=backup.pk).update(verified_at=None)
    try:
        return remove_fact(backup, VERIFIED)
    except StoreError as exc:
        return {"": str(exc)}


def write_fact(backup: Backup, name: str, body: Mapping[str, Any]) -> dict[str, str]:
    """Sign a fact and put it beside every copy of a backup, in place of an older one.

    Return the stores that could not be told, and why; raise `StoreError` when none could.
    """
    content = facts.signed(backup.database, backup.pk, name, body)
    return _at_each_copy(backup, lambda store: _put(store, _fact_name(backup, name), content))


def remove_fact(backup: Backup, name: str) -> dict[str, str]:
    """Take a fact away from every copy of a backup; returns and raises like `write_fact`."""
    return _at_each_copy(backup, lambda store: store.delete(_fact_name(backup, name)))


def _fact_name(backup: Backup, name: str) -> str:
    return f"{backup.database}/{backup.pk}.{name}.json"


def _put(store: Store, name: str, content: bytes) -> None:
    with store.create(name, replace=True) as sink:
        sink.write(content)
        sink.commit()


def _at_each_copy(backup: Backup, act: Callable[[Store], None]) -> dict[str, str]:
    failures: dict[str, str] = {}
    copies = copies_of(backup)
    for store in copies:
        try:
            act(store)
        except StoreError as exc:
            failures[store.name] = str(exc)
    if len(failures) == len(copies):
        raise StoreError(f"No store of backup {backup.pk} answers. {' '.join(failures.values())}")
    return failures

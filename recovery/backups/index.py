"""Reads the stores and brings the table up to what they have."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import transaction

from recovery import stores
from recovery.backups import facts, missing
from recovery.backups.manifest import LONGEST, Manifest, parse
from recovery.backups.missing import GONE, NO_FILE, NO_MANIFEST, REMOVED, TAKEN
from recovery.databases import databases
from recovery.exceptions import DamagedError, RecoveryError, StoreError
from recovery.models import Backup, BackupState
from recovery.stores.base import Store

ID = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{6}")
VERIFIED, PIN = "verified", "pin"
INCOMPLETE = "The sealed file has {} bytes instead of {}."
# Who entered what another console made, or this one before it was restored.
IMPORTER = "catalogue"


@dataclass
class _Seen:
    """What the stores that answer have of one database."""

    database: str
    # Names of files by store.
    names: dict[Store, set[str]] = field(default_factory=dict)
    silent: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def ids(self) -> set[str]:
        """Return what may be backups: a manifest and a sealed file in one store."""
        found = set()
        for names in self.names.values():
            ids = {name.removesuffix(".json").rpartition("/")[2] for name in names}
            found |= {each for each in ids if ID.fullmatch(each) and self._is_whole(each, names)}
        return found

    def having(self, backup_id: str) -> list[Store]:
        return [store for store, names in self.names.items() if self._is_whole(backup_id, names)]

    def absence(self, backup_id: str) -> dict[str, str]:
        """Return by the name of each store why it has no whole backup, "" where it has."""
        return {store.name: self._absence(backup_id, store) for store in self.names}

    def fact(self, backup_id: str, name: str) -> dict[str, Any] | None:
        """Return a fact from the first store with one that is signed for this backup."""
        file = f"{self.database}/{backup_id}.{name}.json"
        for store in (store for store, names in self.names.items() if file in names):
            try:
                content = read(store, file, facts.LONGEST)
                return facts.parse(self.database, backup_id, name, content)
            except RecoveryError as exc:
                self.problems.append(f"{store.name}/{file}: {exc}")
        return None

    def _absence(self, backup_id: str, store: Store) -> str:
        names, stem = self.names[store], f"{self.database}/{backup_id}"
        if self._is_whole(backup_id, names):
            return ""
        if f"{stem}.json" in names:
            return NO_FILE
        return NO_MANIFEST if f"{stem}.tar.age" in names else GONE

    def _is_whole(self, backup_id: str, names: set[str]) -> bool:
        stem = f"{self.database}/{backup_id}"
        return f"{stem}.json" in names and f"{stem}.tar.age" in names


def refresh(
    database: str | None = None, *, absent: BackupState = BackupState.MISSING
) -> tuple[str, ...]:
    """Bring the table up to what the stores have; return what could not be read, a sentence each.

    Unknown backups are entered. What no store has any more becomes `absent`, and people are told
    of what is missing. A store that does not answer changes nothing of what is known of it.
    """
    places = stores.stores()
    names = _database_names() if database is None else [database]
    problems = [problem for name in names for problem in _refresh(name, places, absent)]
    return tuple(dict.fromkeys(problems))


def read(store: Store, name: str, longest: int) -> bytes:
    """Return a small file; raise `DamagedError` when it is longer than such a file can be."""
    with store.open(name) as stream:
        content = stream.read(longest + 1)
    if len(content) > longest:
        raise DamagedError("It is too long.")
    return content


def _database_names() -> list[str]:
    used = Backup.objects.order_by("database").values_list("database", flat=True).distinct()
    return sorted({*databases(), *used})


def _refresh(database: str, places: Sequence[Store], absent: BackupState) -> list[str]:
    expected = Backup.objects.expected().filter(database=database)
    # Asked before the stores are: what is stored meanwhile is not missing in them.
    before = set(expected.values_list("pk", flat=True))
    seen = _look(database, places)
    known = {backup.pk: backup for backup in Backup.objects.filter(database=database)}
    found = seen.ids()
    for backup_id in sorted(found - _complete(known.values())):
        _import(backup_id, known.get(backup_id), seen)
    # Read after them: what retention takes away meanwhile says so.
    rows = [backup for backup in expected.all() if backup.pk in before | found]
    were = {backup.pk: _fields(backup) for backup in rows}
    for backup in rows:
        _bring_up(backup, seen, absent)
    with transaction.atomic():
        gone = [backup for backup in rows if _is_missing_now(backup, were[backup.pk])]
        if gone:
            missing.tell(database, gone)
    return seen.problems


def _look(database: str, places: Sequence[Store]) -> _Seen:
    seen = _Seen(database)
    for store in places:
        try:
            seen.names[store] = set(store.names(database))
        except StoreError as exc:
            seen.silent.append(store.name)
            seen.problems.append(str(exc))
    return seen


def _complete(known: Iterable[Backup]) -> set[str]:
    return {backup.pk for backup in known if backup.state == BackupState.STORED}


def _import(backup_id: str, known: Backup | None, seen: _Seen) -> None:
    """Enter a backup whose manifest some store has, and whose sealed file is as long as it says."""
    if known and known.state == BackupState.RUNNING:
        # Whoever makes it enters it, and first reads it back.
        return
    for store in seen.having(backup_id):
        try:
            content = read(store, f"{seen.database}/{backup_id}.json", LONGEST)
            manifest = _belonging(content, seen.database, backup_id)
            if complaint := _size_complaint(store, manifest):
                raise DamagedError(complaint)
        except RecoveryError as exc:
            seen.problems.append(f"{store.name}/{seen.database}/{backup_id}: {exc}")
            continue
        _enter(manifest, json.loads(content), _copies(known, seen.absence(backup_id)))
        return


def _belonging(content: bytes, database: str, backup_id: str) -> Manifest:
    manifest = parse(content)
    found = (manifest.id, manifest.database, manifest.file)
    if found != (backup_id, database, f"{backup_id}.tar.age"):
        raise DamagedError("The manifest is that of another backup.")
    return manifest


def _enter(manifest: Manifest, content: dict[str, Any], copies: dict[str, str]) -> None:
    Backup.objects.update_or_create(
        pk=manifest.id,
        defaults={
            "database": manifest.database,
            "kind": manifest.kind,
            "state": BackupState.STORED,
            "finished_at": manifest.finished_at,
            "size_bytes": manifest.size,
            "manifest": content,
            "copies": copies,
            "reason": "",
        },
        create_defaults={
            "database": manifest.database,
            "kind": manifest.kind,
            "state": BackupState.STORED,
            "started_at": manifest.taken_at,
            "finished_at": manifest.finished_at,
            "size_bytes": manifest.size,
            "manifest": content,
            "copies": copies,
            "actor_type": "system",
            "actor": IMPORTER,
        },
    )


def _bring_up(backup: Backup, seen: _Seen, absent: BackupState) -> None:
    """Compare a backup with what is where, and with the facts beside it."""
    if backup.state == BackupState.MISSING and seen.having(backup.pk):
        # What has come back is not what was there, or it would have been entered.
        return
    backup.copies = _copies(backup, seen.absence(backup.pk))
    if "" in backup.copies.values():
        _apply_facts(backup, seen)
    elif REMOVED in backup.copies.values():
        backup.state = BackupState.REMOVED
    elif backup.state == BackupState.STORED:
        backup.state = absent


def _is_missing_now(backup: Backup, were: dict[str, Any]) -> bool:
    """Save what a look changed, unless somebody else did meanwhile; say if it became missing."""
    fields = _fields(backup)
    if fields == were or not Backup.objects.filter(pk=backup.pk, **were).update(**fields):
        return False
    return backup.state == BackupState.MISSING and were["state"] != BackupState.MISSING


def _fields(backup: Backup) -> dict[str, Any]:
    """Return what a look into the stores may change of a row."""
    names = ("copies", "state", "verified_at", "pinned_at", "pin_reason")
    return {name: getattr(backup, name) for name in names}


def _copies(known: Backup | None, absence: dict[str, str]) -> dict[str, str]:
    """Return what is known of each store, and why those that were asked have it not, "" if they do.

    Of a store that is silent, or not configured here, nothing new is known.
    """
    expected = (BackupState.STORED, BackupState.MISSING)
    before = known.copies if known and known.state in expected else {}
    copies = {
        name: absence.get(name, reason) if reason in ("", *TAKEN) else reason
        for name, reason in before.items()
    }
    return copies | {name: "" for name, reason in absence.items() if not reason}


def _apply_facts(backup: Backup, seen: _Seen) -> None:
    """Take over what the stores say; what is known stays while a copy cannot be asked."""
    having = {name for name, reason in backup.copies.items() if not reason}
    asked_all = having <= {store.name for store in seen.names}
    verified, pin = seen.fact(backup.pk, VERIFIED), seen.fact(backup.pk, PIN)
    if verified is not None:
        backup.verified_at = _moment(verified, "verified_at")
    elif asked_all:
        backup.verified_at = None
    if pin is not None:
        backup.pinned_at = _moment(pin, "pinned_at")
        backup.pin_reason = str(pin.get("reason", ""))[:200]
    elif asked_all:
        backup.pinned_at, backup.pin_reason = None, ""


def _moment(fact: dict[str, Any], name: str) -> datetime:
    return datetime.fromisoformat(fact[name])


def _size_complaint(store: Store, manifest: Manifest) -> str:
    size = store.size(f"{manifest.database}/{manifest.file}")
    return "" if size == manifest.size else INCOMPLETE.format(size, manifest.size)

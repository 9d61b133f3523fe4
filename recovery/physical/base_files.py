"""Base backups in the archive's folder: each a folder, and a small file of facts written last.

Without its facts a folder is no backup; taking one away begins with them.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from recovery.exceptions import DamagedError, RefusedError, UnknownBackupError
from recovery.physical.archive import Archive, write_whole
from recovery.physical.engine import BaseBackup
from recovery.physical.wal import lsn_text, parse_lsn

ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{6}")
MANIFEST = "backup_manifest"
NO_FILES = "its files are not there"
LARGEST_FACTS = 100_000
LARGEST_MANIFEST = 2_000_000_000


def new_id(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"


def folder(archive: Archive, backup_id: str) -> Path:
    """Return a backup's folder; raise `UnknownBackupError` for what is no id."""
    if not ID.fullmatch(backup_id):
        raise UnknownBackupError("There is no base backup with this id.")
    return archive.base / backup_id


def draft(archive: Archive, backup_id: str) -> Path:
    return archive.base / f".{backup_id}.draft"


def remove_drafts(archive: Archive) -> None:
    """Remove what interrupted backups and removals left; only under the lock."""
    for each in archive.base.iterdir():
        is_draft = each.name.startswith(".") and each.name.endswith(".draft")
        if is_draft or (ID.fullmatch(each.name) and not _facts(archive, each.name).exists()):
            shutil.rmtree(each)


def keep(archive: Archive, made: Path, backup: BaseBackup) -> None:
    """Make a finished draft a backup."""
    made.rename(folder(archive, backup.id))
    write_whole(_facts(archive, backup.id), _written(backup), archive.account)


def describe(
    made: Path, backup_id: str, parent: str, started_at: datetime, finished_at: datetime
) -> BaseBackup:
    """Read what the backup's own manifest says of it."""
    manifest = _manifest(made)
    ranges = manifest["WAL-Ranges"]
    return BaseBackup(
        id=backup_id,
        parent=parent,
        started_at=started_at,
        finished_at=finished_at,
        timeline=int(ranges[-1]["Timeline"]),
        start=min(parse_lsn(each["Start-LSN"]) for each in ranges),
        end=max(parse_lsn(each["End-LSN"]) for each in ranges),
        size_bytes=sum(int(each["Size"]) for each in manifest["Files"]),
    )


def read_all(archive: Archive) -> list[BaseBackup]:
    """Return the complete backups, oldest first."""
    if not archive.base.is_dir():
        return []
    ids = [each.stem for each in archive.base.glob("*.json") if ID.fullmatch(each.stem)]
    own = {each: _read(archive, each) for each in ids}
    found = [replace(each, fault=_inherited(each, own)) for each in own.values()]
    return sorted(found, key=lambda each: (each.finished_at, each.id))


def chain(backups: Iterable[BaseBackup], backup: BaseBackup) -> list[BaseBackup]:
    """Return a backup with all that it builds on, the full one first."""
    known = {each.id: each for each in backups}
    found = [backup]
    while parent := found[0].parent:
        if parent not in known or len(found) > len(known):
            raise DamagedError(f"{backup.id} builds on {parent}, which is not there.")
        found.insert(0, known[parent])
    return found


def pin(archive: Archive, backup_id: str, reason: str, at: datetime) -> None:
    """Keep a backup, what it builds on, and the log since, until it is unpinned."""
    _require(archive, backup_id)
    text = json.dumps({"reason": reason[:200], "at": at.astimezone(UTC).isoformat()}) + "\n"
    write_whole(_pin(archive, backup_id), text, archive.account)


def unpin(archive: Archive, backup_id: str) -> None:
    _require(archive, backup_id)
    _pin(archive, backup_id).unlink(missing_ok=True)


def remove(archive: Archive, backup_id: str) -> None:
    """Remove a backup; raise `RefusedError` for a pinned one and for one that others build on."""
    _require(archive, backup_id)
    if _pin(archive, backup_id).exists():
        raise RefusedError(f"{backup_id} is pinned.")
    if children := [each.id for each in read_all(archive) if each.parent == backup_id]:
        raise RefusedError(f"{', '.join(children)} builds on {backup_id}.")
    _facts(archive, backup_id).unlink()
    shutil.rmtree(folder(archive, backup_id))


def _require(archive: Archive, backup_id: str) -> None:
    if not folder(archive, backup_id).is_dir() or not _facts(archive, backup_id).exists():
        raise UnknownBackupError("There is no base backup with this id.")


def _facts(archive: Archive, backup_id: str) -> Path:
    return archive.base / f"{backup_id}.json"


def _pin(archive: Archive, backup_id: str) -> Path:
    return archive.base / f"{backup_id}.pin.json"


def _inherited(backup: BaseBackup, known: dict[str, BaseBackup]) -> str:
    """Return what is wrong with a backup, or with one that it builds on."""
    try:
        ancestors: Sequence[BaseBackup] = chain(known.values(), backup)[:-1]
    except DamagedError as exc:
        return str(exc)
    damaged = [each.id for each in ancestors if each.fault]
    return backup.fault or (f"builds on {damaged[0]}, which is damaged" if damaged else "")


def _manifest(made: Path) -> dict[str, Any]:
    file = made / MANIFEST
    if os.path.getsize(file) > LARGEST_MANIFEST:
        raise DamagedError(f"{file} is larger than any manifest.")
    return dict(json.loads(file.read_bytes()))


def _written(backup: BaseBackup) -> str:
    body = {
        "id": backup.id,
        "parent": backup.parent,
        "startedAt": backup.started_at.astimezone(UTC).isoformat(),
        "finishedAt": backup.finished_at.astimezone(UTC).isoformat(),
        "timeline": backup.timeline,
        "start": lsn_text(backup.start),
        "end": lsn_text(backup.end),
        "sizeBytes": backup.size_bytes,
    }
    return json.dumps(body, indent=1) + "\n"


def _read(archive: Archive, backup_id: str) -> BaseBackup:
    """Read the facts; one whose facts are damaged is still told of."""
    try:
        with open(_facts(archive, backup_id), encoding="utf-8") as opened:
            body = json.loads(opened.read(LARGEST_FACTS))
        return BaseBackup(
            id=backup_id,
            parent=str(body["parent"]),
            started_at=datetime.fromisoformat(body["startedAt"]),
            finished_at=datetime.fromisoformat(body["finishedAt"]),
            timeline=int(body["timeline"]),
            start=parse_lsn(body["start"]),
            end=parse_lsn(body["end"]),
            size_bytes=int(body["sizeBytes"]),
            pinned=_pin(archive, backup_id).exists(),
            fault="" if (folder(archive, backup_id) / MANIFEST).is_file() else NO_FILES,
        )
    except (OSError, ValueError, KeyError, TypeError):
        made_at = datetime.strptime(backup_id[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        nothing = BaseBackup(backup_id, "", made_at, made_at, 1, 0, 0, 0)
        return replace(nothing, fault="its facts are damaged")

from __future__ import annotations

import json as jsons
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from recovery.backups import attempts, catalogue
from recovery.backups.progress import size_text
from recovery.models import Backup, BackupState

HELP = "the backups that there are, as the stores have them"


def arguments(parser: CommandParser) -> None:
    parser.add_argument("database", nargs="?", help="only of this one")
    parser.add_argument("--all", action="store_true", help="failed and removed ones too")
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")


def run(
    command: BaseCommand, *, database: str | None, all: bool, json: bool, **options: Any
) -> str:
    attempts.close_dead(database)
    problems = catalogue.refresh(database)
    for problem in problems:
        command.stderr.write(problem)
    backups = Backup.objects.all() if all else Backup.objects.shown()
    if database is not None:
        backups = backups.filter(database=database)
    if json:
        return jsons.dumps({"backups": [as_json(each) for each in backups], "problems": problems})
    return "\n".join(_line(each) for each in backups) or "There are no backups."


def as_json(backup: Backup) -> dict[str, Any]:
    """Return what people and programs are shown of a backup."""
    return {
        "id": backup.pk,
        "database": backup.database,
        "kind": backup.kind,
        "state": backup.state,
        "startedAt": backup.started_at.isoformat(),
        "size": backup.size_bytes,
        "copies": backup.copies,
        "verifiedAt": backup.verified_at and backup.verified_at.isoformat(),
        "pinnedAt": backup.pinned_at and backup.pinned_at.isoformat(),
        "pinReason": backup.pin_reason,
        "reason": backup.reason,
    }


def _line(backup: Backup) -> str:
    size = size_text(backup.size_bytes) if backup.size_bytes else "-"
    where = ", ".join(store for store, reason in backup.copies.items() if not reason)
    marks = [
        "" if backup.state == BackupState.STORED else backup.state,
        f"verified {backup.verified_at:%Y-%m-%d}" if backup.verified_at else "not verified",
        f"pinned: {backup.pin_reason}" if backup.pinned_at else "",
        backup.reason,
    ]
    said = ", ".join(mark for mark in marks if mark)
    taken = f"{backup.started_at:%Y-%m-%d %H:%M:%S}"
    return f"{backup.pk}  {backup.database:<12} {taken}  {size:>10}  {where or '-'}  ({said})"

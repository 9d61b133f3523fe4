from __future__ import annotations

import json as jsons
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from recovery import databases, stores
from recovery.backups import attempts, catalogue, missing
from recovery.backups.columns import columns
from recovery.backups.progress import size_text
from recovery.models import Backup, BackupState

HELP = "the backups that there are, as the stores have them"
HEADER = ("ID", "DATABASE", "BEGAN (UTC)", "SIZE", "STATE", "VERIFIED", "IN")
SIZE = HEADER.index("SIZE")


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
    found = Backup.objects.all() if all else Backup.objects.shown()
    if database is not None:
        _require_known(database)
        found = found.filter(database=database)
    backups = list(found)
    places = {store.name for store in stores.stores()}
    shown = _as_json(backups, problems) if json else _text(backups, places)
    if complaint := " ".join(_complaints(backups, places, problems)):
        command.stdout.write(shown)
        raise CommandError(complaint)
    return shown


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


def _require_known(name: str) -> None:
    """Raise `UnknownDatabaseError` for a name that is not configured and has no backups."""
    if not Backup.objects.filter(database=name).exists():
        databases.database(name)


def _complaints(
    backups: Sequence[Backup], places: Collection[str], problems: Sequence[str]
) -> Iterator[str]:
    """Say why the list, though it is shown, is not as it should be."""
    if gone := sum(backup.state == BackupState.MISSING for backup in backups):
        yield f"Backups that are missing, and that retention did not remove: {gone}."
    # One that a place never took was told when it was made, and would end each list for a month.
    if lost := sum(missing.is_lost(_lacking(backup, places)) for backup in backups):
        yield f"Backups that a place had and has no more: {lost}."
    if problems and not _is_first_look():
        yield "The list may be incomplete: not everything could be read."


def _is_first_look() -> bool:
    """Tell a console of which nothing was ever stored: its first backup makes the folders."""
    was_stored = Backup.objects.exclude(copies={}).exists()
    return not was_stored and not any(store.is_there() for store in stores.stores())


def _as_json(backups: Sequence[Backup], problems: Sequence[str]) -> str:
    return jsons.dumps({"backups": [as_json(each) for each in backups], "problems": problems})


def _text(backups: Sequence[Backup], places: Collection[str]) -> str:
    if not backups:
        return "There are no backups."
    header, *rows = columns(HEADER, *map(_row, backups), right=[SIZE])
    lines = [header]
    for backup, row in zip(backups, rows, strict=True):
        lines += [row, *(f"    {note}" for note in _notes(backup, places))]
    return "\n".join(lines)


def _row(backup: Backup) -> tuple[str, ...]:
    return (
        backup.pk,
        backup.database,
        f"{backup.started_at:%Y-%m-%d %H:%M:%S}",
        size_text(backup.size_bytes) if backup.size_bytes else "-",
        backup.state,
        f"{backup.verified_at:%Y-%m-%d}" if backup.verified_at else "no",
        ", ".join(store for store, reason in backup.copies.items() if not reason) or "-",
    )


def _notes(backup: Backup, places: Collection[str]) -> Iterator[str]:
    if backup.state == BackupState.MISSING:
        yield f"missing: {missing.reasons(backup)}"
    if lacking := _lacking(backup, places):
        yield f"not everywhere: {missing.in_words(lacking)}"
    if backup.pinned_at:
        yield f"pinned: {backup.pin_reason}"
    if backup.reason:
        yield backup.reason


def _lacking(backup: Backup, places: Collection[str]) -> dict[str, str]:
    return missing.lacking(backup, places) if backup.state == BackupState.STORED else {}

from __future__ import annotations

import json
from argparse import RawDescriptionHelpFormatter
from collections.abc import Sequence
from datetime import UTC
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from audit.capture.recording import record
from audit.models import Action
from recovery import physical
from recovery.backups.progress import size_text
from recovery.databases import CONSOLE
from recovery.exceptions import RecoveryError
from recovery.physical import base_backups, base_files
from recovery.physical.base_backups import RESOURCE
from recovery.physical.engine import BaseBackup, time_text
from recovery.physical.retention import Unneeded
from recovery.physical.wal import lsn_text

EXAMPLES = """examples:
  manage.py base_backup create                 copy the whole server
  manage.py base_backup create --incremental   what changed since the last one (PostgreSQL 17+)
  manage.py base_backup list --json
  manage.py base_backup prune                  show what is no longer needed; --yes removes it
"""


class Command(BaseCommand):
    help = "Make, list, pin and remove base backups: what point-in-time recovery starts from."

    def create_parser(self, *args: Any, **kwargs: Any) -> CommandParser:
        kwargs |= {"epilog": EXAMPLES, "formatter_class": RawDescriptionHelpFormatter}
        return super().create_parser(*args, **kwargs)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--database", default=CONSOLE, help="whose server (default: console)")
        verbs = parser.add_subparsers(dest="verb", required=True)
        create = verbs.add_parser("create", help="make one")
        create.add_argument("--incremental", action="store_true", help="on top of the newest one")
        for verb in (create, verbs.add_parser("list", help="show what there is")):
            verb.add_argument("--json", action="store_true", help="as JSON")
        pin = verbs.add_parser("pin", help="keep one, and the log since, for good")
        pin.add_argument("id")
        pin.add_argument("--reason", required=True)
        verbs.add_parser("unpin", help="let it go when its time comes").add_argument("id")
        prune = verbs.add_parser("prune", help="remove what BACKUP_RETENTION_DAYS no longer needs")
        prune.add_argument("--yes", action="store_true", help="really remove")

    def handle(self, *, verb: str, **options: Any) -> str:
        try:
            return str(getattr(self, verb)(options["database"], options))
        except RecoveryError as exc:
            raise CommandError(str(exc)) from exc

    def create(self, name: str, options: dict[str, Any]) -> str:
        backup = base_backups.create(name, incremental=options["incremental"])
        return json.dumps(shown(backup)) if options["json"] else table([backup])

    def list(self, name: str, options: dict[str, Any]) -> str:
        backups = physical.engine(name).backups()
        if options["json"]:
            return json.dumps({"backups": [shown(each) for each in backups]})
        return table(backups) if backups else "There is no base backup."

    def pin(self, name: str, options: dict[str, Any]) -> str:
        base_files.pin(physical.archive(name), options["id"], options["reason"], timezone.now())
        record(Action.PIN, resource=f"{RESOURCE}/{options['id']}")
        return f"{options['id']} is kept, with the log since."

    def unpin(self, name: str, options: dict[str, Any]) -> str:
        base_files.unpin(physical.archive(name), options["id"])
        record(Action.PIN, resource=f"{RESOURCE}/{options['id']}", details={"pinned": False})
        return f"{options['id']} is no longer pinned."

    def prune(self, name: str, options: dict[str, Any]) -> str:
        if options["yes"]:
            return pruned("Removed", base_backups.prune(name, timezone.now()))
        gone = base_backups.unneeded(name, timezone.now())
        text = pruned("Would remove", gone)
        is_some = gone.backups or gone.segments
        return f"{text}\nNothing was removed: --yes does." if is_some else text


def shown(backup: BaseBackup) -> dict[str, object]:
    return {
        "id": backup.id,
        "kind": backup.kind,
        "parent": backup.parent,
        "finishedAt": time_text(backup.finished_at),
        "end": lsn_text(backup.end),
        "sizeBytes": backup.size_bytes,
        "pinned": backup.pinned,
        "fault": backup.fault,
    }


def table(backups: Sequence[BaseBackup]) -> str:
    """Return a line for each backup, under a header."""
    rows = [("ID", "FINISHED (UTC)", "KIND", "SIZE", ""), *map(row, backups)]
    id_width = max(len(each[0]) for each in rows)
    return "\n".join(
        f"{name:<{id_width}}  {finished:<19}  {kind:<11}  {size:>10}  {marks}".rstrip()
        for name, finished, kind, size, marks in rows
    )


def row(backup: BaseBackup) -> tuple[str, str, str, str, str]:
    marks = [
        "pinned" if backup.pinned else "",
        f"DAMAGED: {backup.fault}" if backup.fault else "",
    ]
    finished = f"{backup.finished_at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
    size = size_text(backup.size_bytes)
    return (backup.id, finished, backup.kind, size, ", ".join(filter(None, marks)))


def pruned(done: str, gone: Unneeded) -> str:
    if not gone.backups and not gone.segments:
        return "All base backups and all log are still needed."
    size = size_text(sum(each.size_bytes for each in gone.backups))
    backups = f"{len(gone.backups)} base backup{'' if len(gone.backups) == 1 else 's'} ({size})"
    segments = f"{len(gone.segments)} segment{'' if len(gone.segments) == 1 else 's'} of log"
    lines = [f"  {each.id}  {each.kind}" for each in gone.backups]
    return "\n".join([f"{done} {backups} and {segments}.", *lines])

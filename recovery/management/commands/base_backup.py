from __future__ import annotations

import json
from argparse import RawDescriptionHelpFormatter
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from audit.capture.recording import record
from audit.models import Action
from recovery import physical
from recovery.databases import CONSOLE
from recovery.exceptions import RecoveryError
from recovery.physical import base_files, retention
from recovery.physical.engine import BaseBackup, time_text
from recovery.physical.wal import lsn_text

RESOURCE = "/base-backups"
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
        backup = physical.engine(name).back_up(incremental=options["incremental"])
        details = {"database": name, "kind": backup.kind, "bytes": backup.size_bytes}
        record(Action.BACKUP, resource=f"{RESOURCE}/{backup.id}", details=details)
        return json.dumps(shown(backup)) if options["json"] else line(backup)

    def list(self, name: str, options: dict[str, Any]) -> str:
        backups = physical.engine(name).backups()
        if options["json"]:
            return json.dumps({"backups": [shown(each) for each in backups]})
        return "\n".join(map(line, backups)) or "There is no base backup."

    def pin(self, name: str, options: dict[str, Any]) -> str:
        base_files.pin(physical.archive(name), options["id"], options["reason"], timezone.now())
        record(Action.PIN, resource=f"{RESOURCE}/{options['id']}")
        return f"{options['id']} is kept, with the log since."

    def unpin(self, name: str, options: dict[str, Any]) -> str:
        base_files.unpin(physical.archive(name), options["id"])
        record(Action.PIN, resource=f"{RESOURCE}/{options['id']}", details={"pinned": False})
        return f"{options['id']} is no longer pinned."

    def prune(self, name: str, options: dict[str, Any]) -> str:
        archive, now = physical.archive(name), timezone.now()
        act = retention.prune if options["yes"] else retention.unneeded
        gone = act(archive, settings.BACKUP_RETENTION_DAYS, now)
        for backup in gone.backups if options["yes"] else ():
            record(Action.PRUNE, resource=f"{RESOURCE}/{backup.id}")
        done = "Removed" if options["yes"] else "Would remove (nothing was, without --yes):"
        return f"{done} {len(gone.backups)} base backups and {len(gone.segments)} segments of log."


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


def line(backup: BaseBackup) -> str:
    marks = " pinned" * backup.pinned + f"  DAMAGED: {backup.fault}" * bool(backup.fault)
    finished = f"{backup.finished_at:%Y-%m-%d %H:%M:%S} UTC"
    return f"{backup.id}  {finished}  {backup.kind:<11}  {backup.size_bytes:>15,} bytes{marks}"

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import Error

from audit.capture.actors import system_user
from audit.capture.recording import record
from audit.models import Action
from recovery import physical
from recovery.databases import CONSOLE
from recovery.physical import pitr
from recovery.physical.engine import time_text
from recovery.physical.pitr import Outcome
from recovery.physical.wal import lsn_text
from recovery.restore.cli.run import say

HELP = "restore a server as it was at a moment, into a new folder and beside all that runs"


def arguments(parser: CommandParser) -> None:
    parser.add_argument("--to", default="", metavar="TIME", help='"2026-11-23 14:30:00", in UTC')
    parser.add_argument("--to-lsn", default="", metavar="LSN", help="a position: 0/3000148")
    parser.add_argument("--to-name", default="", metavar="NAME", help="pg_create_restore_point()'s")
    parser.add_argument("--latest", action="store_true", help="as far as the archive goes")
    parser.add_argument("--into", required=True, type=Path, help="a new or empty folder")
    parser.add_argument(
        "--port", type=int, default=0, help="of the new server (default: a free one)"
    )
    parser.add_argument("--database", default=CONSOLE, help="whose server (default: console)")
    parser.add_argument("--json", action="store_true", help="as one JSON object")


def run(command: BaseCommand, **options: Any) -> str:
    target = pitr.parse_target(
        to=options["to"],
        to_lsn=options["to_lsn"],
        to_name=options["to_name"],
        latest=options["latest"],
    )
    engine = physical.engine(options["database"])
    told = say(command)
    outcome = pitr.restore(engine, target, options["into"], told, options["port"])
    try:
        resource = f"/base-backups/{outcome.plan.backup.id}"
        record(Action.RESTORE, resource=resource, details=shown(outcome))
    except Error as exc:
        # The console's own database may be what was lost.
        told(f"The restore could not be recorded in the audit log: {type(exc).__name__}.")
    return json.dumps(shown(outcome)) if options["json"] else text(outcome)


def shown(outcome: Outcome) -> dict[str, object]:
    until, reached = outcome.complete_until, outcome.recovered.at
    return {
        "id": outcome.plan.backup.id,
        "target": str(outcome.plan.target),
        "folder": str(outcome.folder),
        "port": outcome.port,
        "reachedLsn": lsn_text(outcome.recovered.position),
        "lastTransactionAt": time_text(reached) if reached else None,
        "timeline": outcome.recovered.timeline,
        "completeUntil": time_text(until) if until else None,
        "behindSeconds": outcome.behind_seconds,
        "seconds": round(outcome.seconds, 3),
        "stopCommand": outcome.stop,
        "startCommand": outcome.start,
    }


def text(outcome: Outcome) -> str:
    facts = shown(outcome)
    return "\n".join(
        [
            f"Restored to {_reached(outcome)}.",
            f"It took {outcome.seconds:.1f} s, from base backup {facts['id']}.",
            f"Last transaction  {facts['lastTransactionAt'] or 'none since the base backup'}",
            f"Timeline          {facts['timeline']}",
            f"The server runs in {outcome.folder} on 127.0.0.1:{outcome.port}, with the roles and",
            "passwords of that time. It is no part of the console: it runs on until you stop it.",
            f"As {system_user()}:",
            f"  stop it         {outcome.stop}",
            f"  start it again  {outcome.start}",
        ]
    )


def _reached(outcome: Outcome) -> str:
    position, until = lsn_text(outcome.recovered.position), outcome.complete_until
    if outcome.behind_seconds is None or until is None:
        return f"{outcome.plan.target} ({position})"
    return (
        f"{time_text(until)} ({position}), the last moment in the archive, "
        f"{outcome.behind_seconds:.1f} s before this restore began.\n"
        "What the server committed after that moment is missing"
    )

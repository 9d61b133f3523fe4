from __future__ import annotations

import json as jsons
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from recovery.backups import source
from recovery.databases import database
from recovery.restore import describe, plan

HELP = "look at everything, change nothing; exit code 0, 1 with warnings, 2 when it cannot be done"


def arguments(parser: CommandParser) -> None:
    parser.add_argument(
        "backup_id", metavar="BACKUP_ID", help="as `manage.py backup list` shows it"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")


def run(command: BaseCommand, *, backup_id: str, json: bool, **options: Any) -> str:
    made = planned(backup_id)
    shown = jsons.dumps(describe.plan_json(made)) if json else "\n".join(describe.plan_lines(made))
    if not made.exit_code:
        return shown
    command.stdout.write(shown)
    sys.exit(made.exit_code)


def planned(backup_id: str) -> plan.Plan:
    """Plan a restore as people see it, with the rows that it would change."""
    found = source.find(backup_id)
    target = database(found.manifest.database)
    return plan.with_rows(plan.make(target, found), target, found.manifest)

from __future__ import annotations

import json as jsons
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from recovery.restore import state, undo
from recovery.restore.cli.run import confirm as require
from recovery.restore.cli.run import confirmation

HELP = "drop the database that a restore keeps, for ever"


def arguments(parser: CommandParser) -> None:
    parser.add_argument("restore_id", metavar="RESTORE_ID", help="as status shows it")
    confirmation(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")


def run(
    command: BaseCommand, *, restore_id: str, confirm: str | None, json: bool, **options: Any
) -> str:
    restore = state.load(restore_id)
    require(restore.database, restore.dbname, confirm)
    name = undo.discard(restore_id)
    return jsons.dumps({"id": restore_id, "discarded": name}) if json else f"Dropped {name}."

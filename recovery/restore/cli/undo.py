from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from recovery.restore import describe, state
from recovery.restore import undo as undoing
from recovery.restore.cli.run import confirm as require
from recovery.restore.cli.run import confirmation, say, shown

HELP = "show what it would do; put the replaced database back; the restored one is kept"


def arguments(parser: CommandParser) -> None:
    parser.add_argument("restore_id", metavar="RESTORE_ID", help="as status shows it")
    confirmation(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")


def run(
    command: BaseCommand, *, restore_id: str, confirm: str | None, json: bool, **options: Any
) -> str:
    restore = state.load(restore_id)
    made = undoing.look(restore)
    made.refuse(undoing.CANNOT)
    for line in describe.undo_lines(restore, made):
        say(command)(line)
    require(restore.database, restore.dbname, confirm)
    return shown(undoing.undo(restore_id, say(command)), json=json)

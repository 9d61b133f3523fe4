from __future__ import annotations

import json as jsons
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from recovery.restore import describe, state

HELP = "how far each restore is, and which database it keeps"


def arguments(parser: CommandParser) -> None:
    parser.add_argument("restore_id", metavar="RESTORE_ID", nargs="?")
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")


def run(command: BaseCommand, *, restore_id: str | None, json: bool, **options: Any) -> str:
    restores = [state.load(restore_id)] if restore_id else state.every()
    if json:
        return jsons.dumps({"restores": [describe.restore_json(each) for each in restores]})
    lines = [line for each in restores for line in describe.restore_lines(each)]
    return "\n".join(lines) or "Nothing was restored yet."

from __future__ import annotations

import json as jsons
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from recovery.databases import database
from recovery.exceptions import RefusedError
from recovery.restore import describe, state
from recovery.restore import run as restoring
from recovery.restore.beside import Say
from recovery.restore.cli.plan import planned
from recovery.restore.state import Restore

HELP = "restore a backup beside the live database, check it, swap both; or carry one on"


def arguments(parser: CommandParser) -> None:
    parser.add_argument("backup_id", metavar="BACKUP_ID", nargs="?")
    parser.add_argument("--resume", metavar="ID", help="an interrupted restore, as status shows it")
    parser.add_argument("--yes", action="store_true", help="accept the plan's warnings")
    confirmation(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")


def run(command: BaseCommand, *, json: bool, **options: Any) -> str:
    restore = _resumed(command, options) if options["resume"] else _started(command, options)
    return shown(restore, json=json)


def confirmation(parser: CommandParser) -> None:
    """Add the option by which scripts confirm what a person confirms by typing."""
    parser.add_argument("--confirm", metavar="NAME", help="the live database's name on its server")


def confirm(name: str, dbname: str, typed: str | None) -> None:
    """Have the name typed that the server knows; raise `RefusedError` for another one, or nobody.

    `name` is what `backup list` calls the database.
    """
    if not typed and sys.stdin.isatty():
        known = f", which the console calls {name}" if name != dbname else ""
        typed = input(f"This is about the live database {dbname}{known}. Type {dbname} to go on: ")
    if typed != dbname:
        raise RefusedError(
            f"Not confirmed: --confirm {dbname}, or typing the name on a terminal, is needed. "
            "Nothing was changed."
        )


def shown(restore: Restore, *, json: bool) -> str:
    """Return what a restore came to, for programs or for people."""
    if json:
        return jsons.dumps(describe.restore_json(restore))
    return "\n".join(describe.restore_lines(restore))


def say(command: BaseCommand) -> Say:
    # Beside the result, and not in the red of errors.
    return lambda progress: command.stderr.write(progress, style_func=str)


def _resumed(command: BaseCommand, options: dict[str, Any]) -> Restore:
    if options["backup_id"]:
        raise RefusedError("Name a backup, or an interrupted restore with --resume; not both.")
    restore = state.load(options["resume"])
    confirm(restore.database, restore.dbname, options["confirm"])
    return restoring.resume(options["resume"], say(command))


def _started(command: BaseCommand, options: dict[str, Any]) -> Restore:
    if not options["backup_id"]:
        raise RefusedError("Name a backup; `manage.py backup list` shows them.")
    made = planned(options["backup_id"])
    made.refuse()
    for line in describe.plan_lines(made):
        say(command)(line)
    if made.exit_code and not (options["yes"] or sys.stdin.isatty()):
        raise RefusedError("The plan has warnings: accept them with --yes. Nothing was changed.")
    confirm(made.database, database(made.database).dbname, options["confirm"])
    return restoring.run(options["backup_id"], say(command))

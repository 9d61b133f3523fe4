from __future__ import annotations

import json
import sys
from argparse import RawDescriptionHelpFormatter
from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from recovery.backups import catalogue
from recovery.databases import database
from recovery.exceptions import RecoveryError, RefusedError
from recovery.restore import describe, plan, run, state, undo
from recovery.restore.state import Restore

EXAMPLES = """examples:
  manage.py restore plan 20261123T020000Z-3f9ac1      what it would do; exit code 0, 1 (warnings), 2 (cannot)
  manage.py restore run 20261123T020000Z-3f9ac1       asks for the database's name, then does it
  manage.py restore run 20261123T020000Z-3f9ac1 --confirm abtpro_db
  manage.py restore status                            how far each restore is
  manage.py restore undo 20261124T101500Z-77aa01      puts the replaced database back
"""


class Command(BaseCommand):
    help = "Restore a backup beside the live database, check it, and swap both; or undo that."

    def create_parser(self, *args: Any, **kwargs: Any) -> CommandParser:
        kwargs |= {"epilog": EXAMPLES, "formatter_class": RawDescriptionHelpFormatter}
        return super().create_parser(*args, **kwargs)

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        planned = verbs.add_parser("plan", help="look at everything, change nothing")
        planned.add_argument("backup_id")
        started = verbs.add_parser("run", help="restore a backup, or carry an interrupted one on")
        started.add_argument("backup_id", nargs="?")
        started.add_argument(
            "--resume", metavar="ID", help="an interrupted restore, as status shows it"
        )
        started.add_argument("--yes", action="store_true", help="accept the plan's warnings")
        undone = verbs.add_parser("undo", help="put the replaced database back; the other is kept")
        dropped = verbs.add_parser(
            "discard", help="drop the database that a restore keeps, for ever"
        )
        for verb in (undone, dropped):
            verb.add_argument("restore_id")
        for verb in (started, undone, dropped):
            verb.add_argument(
                "--confirm", metavar="NAME", help="the live database's name, for scripts"
            )
        shown = verbs.add_parser("status", help="how far each restore is")
        shown.add_argument("restore_id", nargs="?")
        for verb in (planned, started, undone, dropped, shown):
            verb.add_argument(
                "--json", action="store_true", help="one JSON object on the last line"
            )

    def handle(self, *, verb: str, **options: Any) -> None:
        try:
            lines, body, code = getattr(self, verb)(options)
        except RecoveryError as exc:
            raise CommandError(str(exc), returncode=2) from exc
        for line in [json.dumps(body)] if options["json"] else lines:
            self.stdout.write(line)
        if code:
            sys.exit(code)

    def plan(self, options: dict[str, Any]) -> tuple[Iterator[str], Any, int]:
        made = self.planned(options["backup_id"])
        return describe.plan_lines(made), describe.plan_json(made), made.exit_code

    def run(self, options: dict[str, Any]) -> tuple[Iterator[str], Any, int]:
        if bool(options["backup_id"]) == bool(options["resume"]):
            raise RefusedError("Name a backup, or an interrupted restore with --resume.")
        if options["resume"]:
            self.confirm(state.load(options["resume"]).dbname, options)
            return self.ended(run.resume(options["resume"], self.say))
        made = self.planned(options["backup_id"])
        made.refuse()
        for line in describe.plan_lines(made):
            self.say(line)
        self.confirm(database(made.database).dbname, options)
        if made.exit_code and options["confirm"] and not options["yes"]:
            raise RefusedError(
                "The plan has warnings: accept them with --yes. Nothing was changed."
            )
        return self.ended(run.run(options["backup_id"], self.say))

    def undo(self, options: dict[str, Any]) -> tuple[Iterator[str], Any, int]:
        self.confirm(state.load(options["restore_id"]).dbname, options)
        return self.ended(undo.undo(options["restore_id"], self.say))

    def discard(self, options: dict[str, Any]) -> tuple[Iterator[str], Any, int]:
        self.confirm(state.load(options["restore_id"]).dbname, options)
        name = undo.discard(options["restore_id"])
        return iter([f"Dropped {name}."]), {"id": options["restore_id"], "discarded": name}, 0

    def status(self, options: dict[str, Any]) -> tuple[Iterator[str], Any, int]:
        found = [state.load(options["restore_id"])] if options["restore_id"] else state.every()
        lines = (line for each in found for line in describe.restore_lines(each))
        return lines, {"restores": [describe.restore_json(each) for each in found]}, 0

    def planned(self, backup_id: str) -> plan.Plan:
        manifest = catalogue.manifest_of(backup_id)
        return plan.make(database(manifest.database), manifest)

    def confirm(self, dbname: str, options: dict[str, Any]) -> None:
        """Have the database's name typed; raise `RefusedError` when it is another one, or nobody can."""
        typed = options["confirm"]
        if not typed and sys.stdin.isatty():
            typed = input(f"This replaces the database {dbname}. Type its name to go on: ")
        if typed != dbname:
            raise RefusedError(
                f"Not confirmed: --confirm {dbname} (or typing it on a terminal) is needed. "
                "Nothing was changed."
            )

    def ended(self, restore: Restore) -> tuple[Iterator[str], Any, int]:
        is_success = restore.step in {state.Step.DONE, state.Step.UNDONE}
        return (
            describe.restore_lines(restore),
            describe.restore_json(restore),
            0 if is_success else 2,
        )

    def say(self, progress: str) -> None:
        # Beside the result, and not in the red of errors.
        self.stderr.write(progress, style_func=str)

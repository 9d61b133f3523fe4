from __future__ import annotations

import json
from argparse import RawDescriptionHelpFormatter
from dataclasses import asdict, replace
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.core.serializers.json import DjangoJSONEncoder

from recovery import physical
from recovery.backups.progress import size_text
from recovery.databases import CONSOLE, database
from recovery.exceptions import RecoveryError
from recovery.physical import receiver
from recovery.physical.engine import time_text
from recovery.physical.recovery_point import PhysicalStatus, current

EXAMPLES = """examples:
  manage.py wal_archive run              receive the server's log until Ctrl-C
  manage.py wal_archive status --json    how near to now one could go back
  manage.py wal_archive check            the same; ends with 1 when something is lost or not received
"""


class Command(BaseCommand):
    help = "Archive the server's write-ahead log as it is written, and look at the archive."

    def create_parser(self, *args: Any, **kwargs: Any) -> CommandParser:
        kwargs |= {"epilog": EXAMPLES, "formatter_class": RawDescriptionHelpFormatter}
        return super().create_parser(*args, **kwargs)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("verb", choices=("run", "status", "check"))
        parser.add_argument("--database", default=CONSOLE, help="whose server (default: console)")
        parser.add_argument("--json", action="store_true", help="as one JSON object")

    def handle(self, *, verb: str, **options: Any) -> str | None:
        name = options["database"]
        try:
            if verb == "run":
                receiver.run(database(name), physical.archive(name), self.say)
                return None
            engine = physical.engine(name)
            found = current(engine, database(name))
            if verb == "check":
                found = replace(found, problems=(*found.problems, *engine.try_out()))
        except RecoveryError as exc:
            raise CommandError(str(exc)) from exc
        shown = json.dumps(asdict(found), cls=DjangoJSONEncoder) if options["json"] else text(found)
        if verb == "check" and found.problems:
            self.stdout.write(shown)
            count = len(found.problems)
            raise CommandError(f"{count} problem{'' if count == 1 else 's'}.")
        return shown

    def say(self, progress: str) -> None:
        # Beside the result, and not in the red of errors.
        self.stderr.write(progress, style_func=str)


def text(found: PhysicalStatus) -> str:
    point, age = found.recovery_point_at, found.recovery_point_age_seconds
    reached = f"{time_text(point)}, {age:.1f} s ago" if point and age is not None else "none"
    base = found.last_base_backup_at
    retained = found.slot_retained_bytes
    kept = "unknown" if retained is None else size_text(retained)
    receiving = {True: "yes", False: "no", None: "unknown"}[found.receiving]
    lines = [
        f"Engine           {found.engine}",
        f"Recovery point   {reached}",
        f"Archive ends at  {found.archive_end or 'unknown'}",
        f"Gaps             {found.gaps}",
        f"Receiving        {receiving}",
        f"Kept in slot     {kept}",
        f"Base backup      {time_text(base) if base else 'none'}",
    ]
    lines += [f"WARNING: {each}" for each in found.warnings]
    return "\n".join([*lines, *(f"PROBLEM: {each}" for each in found.problems)])

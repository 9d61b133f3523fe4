from __future__ import annotations

import json
from argparse import RawDescriptionHelpFormatter
from typing import Any

import psycopg
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from audit.capture import writer
from audit.capture.spool import waiting

EXAMPLES = """examples:
  manage.py audit_spool status    what waits, one JSON object
  manage.py audit_spool replay    put into the log what dead processes left
"""


class Command(BaseCommand):
    help = (
        "Look at, or replay, the audit entries that wait on disk because the database was away. "
        "A running web server replays its own; this is for what nobody runs for any more."
    )

    def create_parser(self, *args: Any, **kwargs: Any) -> CommandParser:
        kwargs |= {"epilog": EXAMPLES, "formatter_class": RawDescriptionHelpFormatter}
        return super().create_parser(*args, **kwargs)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("what", choices=("status", "replay"))

    def handle(self, *, what: str, **options: Any) -> str:
        if what == "status":
            files = waiting(settings.AUDIT_SPOOL)
            total = sum(count for _, count in files)
            shown = [{"path": str(path), "entries": count} for path, count in files]
            return json.dumps({"entries": total, "files": shown})
        try:
            replayed = writer.replay_spool()
        except (psycopg.Error, OSError) as exc:
            raise CommandError(f"The spool stays as it is: {type(exc).__name__}: {exc}") from exc
        return f"Replayed {replayed} entries."

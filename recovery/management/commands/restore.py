from __future__ import annotations

from argparse import RawDescriptionHelpFormatter
from typing import Any

import psycopg
from django.core.management.base import BaseCommand, CommandError, CommandParser

from recovery.exceptions import RecoveryError
from recovery.restore.cli import subcommands

WENT_AWAY = (
    "The database server went away meanwhile. `manage.py restore status` shows how far it came."
)
EXAMPLES = """examples:
  manage.py restore plan 20261123T020000Z-3f9ac1      what it would do, and what speaks against it
  manage.py restore run 20261123T020000Z-3f9ac1       asks for the database's name, then does it
  manage.py restore run 20261123T020000Z-3f9ac1 --confirm abtpro_db
  manage.py restore status                            how far each restore is
  manage.py restore undo 20261124T101500Z-77aa01      puts the replaced database back
  manage.py restore pitr --to "2026-11-23 14:30:00" --into /srv/restored

exit codes:
  0  done
  1  plan: it can be done, with warnings
  2  refused or failed; the live database is as it was
"""


class Command(BaseCommand):
    help = (
        "Restore a backup beside the live database, check it, and swap both; or undo that. "
        "With pitr: restore a whole server as it was at a moment, into a new folder."
    )

    def create_parser(self, *args: Any, **kwargs: Any) -> CommandParser:
        kwargs |= {"epilog": EXAMPLES, "formatter_class": RawDescriptionHelpFormatter}
        return super().create_parser(*args, **kwargs)

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        for name, module in subcommands().items():
            module.arguments(verbs.add_parser(name, help=module.HELP, description=module.HELP))

    def handle(self, *, verb: str, **options: Any) -> str:
        try:
            return str(subcommands()[verb].run(self, **options))
        except RecoveryError as exc:
            raise CommandError(str(exc), returncode=2) from exc
        except psycopg.OperationalError:
            # Without the driver's text, and without its trace.
            raise CommandError(WENT_AWAY, returncode=2) from None

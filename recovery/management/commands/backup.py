from __future__ import annotations

from argparse import RawDescriptionHelpFormatter
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from recovery.backups.cli import subcommands
from recovery.exceptions import RecoveryError

EXAMPLES = """examples:
  manage.py backup create                     the console's own database
  manage.py backup create orders --json       one of BACKUP_DATABASES, for a script
  manage.py backup list                       what the stores have
  manage.py backup show 20261123T020000Z-3f9ac1
  manage.py backup pin 20261123T020000Z-3f9ac1 --reason "before the migration"
  manage.py backup explain                    which rule keeps or drops each
  manage.py backup prune --yes                remove what no rule keeps; without it only say

exit codes:
  0  done, in every store
  1  failed; or stored, but not in every store; or a list that is not complete
  2  wrong usage
  3  another backup of the same database is under way
"""


class Command(BaseCommand):
    help = "Make backups of databases, list, keep and check them."

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
            raise CommandError(str(exc)) from exc

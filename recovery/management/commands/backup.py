from __future__ import annotations

import logging
from argparse import RawDescriptionHelpFormatter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from compliance_site.foundation.notices import outbox
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
            with _unlogged_notices():
                return str(subcommands()[verb].run(self, **options))
        except RecoveryError as exc:
            raise CommandError(str(exc)) from exc


@contextmanager
def _unlogged_notices() -> Iterator[None]:
    """Keep notices that no channel carries out of the log: what the command prints says it."""
    logger = logging.getLogger(outbox.__name__)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)

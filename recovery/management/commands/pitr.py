from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from recovery.exceptions import RecoveryError
from recovery.management import pitr


class Command(BaseCommand):
    help = "Restore the server as it was at a moment, into a new folder and beside all that runs."

    def add_arguments(self, parser: CommandParser) -> None:
        pitr.add_arguments(parser)

    def handle(self, **options: Any) -> str:
        try:
            return pitr.handle(options, lambda line: self.stderr.write(line, style_func=str))
        except RecoveryError as exc:
            raise CommandError(str(exc)) from exc

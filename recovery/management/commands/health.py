from __future__ import annotations

import json
import sys
from argparse import RawDescriptionHelpFormatter
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from recovery.api import health_bodies
from recovery.health.report import Report, components, report
from recovery.health.results import Result, Status
from recovery.health.words import in_words

EXIT = {Status.HEALTHY: 0, Status.DEGRADED: 1, Status.UNHEALTHY: 2}
EXAMPLES = """exit code: 0 healthy, 1 degraded (it works and needs somebody), 2 unhealthy

examples:
  manage.py health                a line for each part
  manage.py health --json         what /health/detailed answers
  manage.py health > /dev/null || echo "look at the console"
"""


class Command(BaseCommand):
    help = "Ask each part of the console how it stands; it needs none of them to answer."
    # A database that is away is what this has to tell.
    requires_system_checks = []

    def create_parser(self, *args: Any, **kwargs: Any) -> CommandParser:
        kwargs |= {"epilog": EXAMPLES, "formatter_class": RawDescriptionHelpFormatter}
        return super().create_parser(*args, **kwargs)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="as one JSON object")

    def handle(self, *, json: bool, **options: Any) -> None:
        found = report(components(), machine=True)
        self.stdout.write(_as_json(found) if json else _as_table(found))
        if code := EXIT[found.status]:
            sys.exit(code)


def _as_json(found: Report) -> str:
    return json.dumps(health_bodies.detailed(found))


def _as_table(found: Report) -> str:
    lines = [_line(result) for result in found.results]
    return "\n".join([*lines, f"The console is {found.status}."])


def _line(result: Result) -> str:
    took = "" if result.response_ms is None else f"{result.response_ms} ms"
    said = result.reason or in_words(result)
    return f"{result.component:<10} {result.status:<10} {took:>8}  {said}".rstrip()

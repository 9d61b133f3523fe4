from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from recovery.backups import catalogue, pins

HELP = "let retention decide about a backup again"


def arguments(parser: CommandParser) -> None:
    parser.add_argument("id", help="as list shows it")


def run(command: BaseCommand, *, id: str, **options: Any) -> str:
    failures = pins.unpin(catalogue.find(id))
    return " ".join([f"Backup {id} is not kept any longer than others.", *failures.values()])

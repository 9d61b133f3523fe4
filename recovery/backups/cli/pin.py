from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from recovery.backups import catalogue, pins

HELP = "keep a backup until it is unpinned"


def arguments(parser: CommandParser) -> None:
    parser.add_argument("id", help="as list shows it")
    parser.add_argument("--reason", required=True, help="why; shown with the backup")


def run(command: BaseCommand, *, id: str, reason: str, **options: Any) -> str:
    failures = pins.pin(catalogue.find(id), reason)
    return " ".join([f"Backup {id} is kept.", *failures.values()])

from __future__ import annotations

import json as jsons
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from recovery.backups import catalogue
from recovery.backups.cli.list import as_json
from recovery.backups.manifest import Manifest
from recovery.backups.snapshot import SEQUENCE

HELP = "what is known of one backup, from its signed manifest"


def arguments(parser: CommandParser) -> None:
    parser.add_argument("id", help="as list shows it")
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")


def run(command: BaseCommand, *, id: str, json: bool, **options: Any) -> str:
    backup = catalogue.find(id)
    shown = as_json(backup)
    if backup.manifest is not None:
        shown |= _facts(catalogue.manifest_of(backup))
    if json:
        return jsons.dumps(shown)
    return "\n".join(f"{name:<14} {_text(value)}" for name, value in shown.items())


def _facts(manifest: Manifest) -> dict[str, Any]:
    tables = [table for table in manifest.tables if table.rows != SEQUENCE]
    return {
        "takenAt": manifest.taken_at.isoformat(),
        "finishedAt": manifest.finished_at.isoformat(),
        "file": manifest.file,
        "sha256": manifest.sha256,
        "recipients": list(manifest.recipients),
        "program": manifest.program,
        "serverVersion": manifest.facts.server_version,
        "databaseSize": manifest.facts.size_bytes,
        "extensions": manifest.facts.extensions,
        "roles": list(manifest.facts.roles),
        "tables": len(tables),
        "rows": sum(table.rows for table in tables),
        "masterKeys": list(manifest.master_keys),
    }


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}: {each or 'yes'}" for name, each in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "-" if value in (None, "") else str(value)

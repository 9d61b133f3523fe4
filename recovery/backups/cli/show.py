from __future__ import annotations

import json as jsons
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from recovery.backups import catalogue
from recovery.backups.cli.list import as_json
from recovery.backups.manifest import Manifest
from recovery.backups.progress import moment_text, size_text
from recovery.backups.snapshot import only_tables

HELP = "what is known of one backup, from its signed manifest"
CAPITAL = re.compile("[A-Z]")


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
    return "\n".join(f"{_words(name):<14} {_text(name, value)}" for name, value in shown.items())


def _facts(manifest: Manifest) -> dict[str, Any]:
    tables = only_tables(manifest.tables)
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


def _words(name: str) -> str:
    """Turn `serverVersion` into `server version`."""
    return CAPITAL.sub(lambda letter: f" {letter[0].lower()}", name)


def _text(name: str, value: Any) -> str:
    if value in (None, "", [], {}):
        return "-"
    if name in TEXTS:
        return TEXTS[name](value)
    if isinstance(value, dict):
        return ", ".join(f"{key}: {each or 'yes'}" for key, each in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _moment(iso: str) -> str:
    return moment_text(datetime.fromisoformat(iso))


def _copies(copies: dict[str, str]) -> str:
    reasons = (f"{store}: {reason.rstrip('.') or 'there'}" for store, reason in copies.items())
    return "; ".join(reasons)


def _version(number: int) -> str:
    return f"{number // 10_000}.{number % 10_000}"


TEXTS: dict[str, Callable[[Any], str]] = {
    **dict.fromkeys(("startedAt", "verifiedAt", "pinnedAt", "takenAt", "finishedAt"), _moment),
    **dict.fromkeys(("size", "databaseSize"), size_text),
    **dict.fromkeys(("tables", "rows"), "{:,}".format),
    "serverVersion": _version,
    "copies": _copies,
}

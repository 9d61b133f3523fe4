from __future__ import annotations

import json as jsons
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from recovery.backups import catalogue, prune
from recovery.backups.retention import Decision

HELP = "say for each backup which rule of retention keeps or drops it"


def arguments(parser: CommandParser) -> None:
    parser.add_argument("id", nargs="?", help="only this one, as list shows it")
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")


def run(command: BaseCommand, *, id: str | None, json: bool, **options: Any) -> str:
    if id is not None:
        # An unknown one is an error that names the nearest.
        id = catalogue.find(id).pk
    plan = prune.plan()
    for problem in plan.problems:
        command.stderr.write(problem)
    decisions = [each for each in plan.decisions if id in (None, each.backup.id)]
    if id is not None and not decisions:
        raise CommandError(f"Backup {id} is not stored: retention does not decide about it.")
    if json:
        return jsons.dumps({"backups": [as_json(each) for each in decisions]})
    return "\n".join(line(each) for each in decisions) or "There are no backups."


def as_json(decision: Decision) -> dict[str, Any]:
    backup = decision.backup
    return {
        "id": backup.id,
        "database": backup.database,
        "takenAt": backup.taken_at.isoformat(),
        "size": backup.size,
        "keep": decision.is_kept,
        "rules": [reason.rule for reason in decision.reasons],
        "why": decision.words,
    }


def line(decision: Decision) -> str:
    does = "keep" if decision.is_kept else "drop"
    return f"{does}  {decision.backup.id}  {decision.backup.database}: {decision.words}"

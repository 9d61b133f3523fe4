from __future__ import annotations

import json as jsons
from argparse import SUPPRESS
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from recovery.backups import prune
from recovery.backups.cli.explain import as_json, line
from recovery.backups.progress import size_text

HELP = "show which backups retention would remove, and with --yes remove them"


def arguments(parser: CommandParser) -> None:
    parser.add_argument("--yes", action="store_true", dest="delete", help="really remove them")
    # As it was called first.
    parser.add_argument("--delete", action="store_true", help=SUPPRESS)
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")


def run(command: BaseCommand, *, delete: bool, json: bool, **options: Any) -> str:
    if not delete:
        return _shown(command, prune.plan(), json=json)
    pruned = prune.prune()
    shown = _as_json(pruned.plan, pruned) if json else _text(pruned.plan, pruned)
    if not pruned.problems:
        return shown
    command.stdout.write(shown)
    raise CommandError("Not everything could be done. " + " ".join(pruned.problems))


def _shown(command: BaseCommand, plan: prune.Plan, *, json: bool) -> str:
    for problem in plan.problems:
        command.stderr.write(problem)
    return _as_json(plan, None) if json else _text(plan, None)


def _as_json(plan: prune.Plan, pruned: prune.Pruned | None) -> str:
    orphans = [f"{each.store.name}/{each.name}" for each in plan.orphans]
    return jsons.dumps(
        {
            "dryRun": pruned is None,
            "drop": [as_json(each) for each in plan.dropped],
            "kept": len(plan.decisions) - len(plan.dropped),
            "removed": pruned.removed if pruned else [],
            "orphans": orphans,
            "orphansRemoved": pruned.orphans if pruned else [],
            "problems": list(pruned.problems if pruned else plan.problems),
        }
    )


def _text(plan: prune.Plan, pruned: prune.Pruned | None) -> str:
    lines = [line(each) for each in plan.dropped]
    lines += [f"{each.store.name}/{each.name}: without a manifest" for each in plan.orphans]
    size = size_text(sum(each.backup.size for each in plan.dropped))
    kept = len(plan.decisions) - len(plan.dropped)
    if pruned is None:
        end = f"{len(plan.dropped)} backups ({size}) would be removed, {kept} kept."
        end += " Nothing was: repeat with --yes." if lines else ""
    else:
        end = f"{len(pruned.removed)} of {len(plan.dropped)} backups ({size}) removed, {kept} kept."
    return "\n".join([*lines, end])

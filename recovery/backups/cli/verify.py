from __future__ import annotations

import json as jsons
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from recovery.backups import verify
from recovery.backups.verify import Report

HELP = "restore backups into a scratch database and compare them with what was backed up"


def arguments(parser: CommandParser) -> None:
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("id", nargs="?", help="as list shows it")
    which.add_argument("--newest", action="store_true", help="the newest of every database")
    which.add_argument("--all-unverified", action="store_true", help="all that never were")
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")


def run(command: BaseCommand, *, json: bool, **options: Any) -> str:
    # Beside the result, and not in the red of errors.
    reports = _verified(lambda text: command.stderr.write(text, style_func=str), options)
    shown = _as_json(reports) if json else "\n".join(map(_line, reports))
    if all(report.passed for report in reports):
        return shown or "There is nothing to verify."
    command.stdout.write(shown)
    raise CommandError("A verification failed.")


def _verified(say: verify.Say, options: dict[str, Any]) -> list[Report]:
    if options["newest"]:
        return verify.verify_newest(say)
    if options["all_unverified"]:
        return verify.verify_unverified(say)
    return [verify.verify(options["id"], say)]


def _as_json(reports: list[Report]) -> str:
    plain = [report.plain() for report in reports]
    return jsons.dumps(plain[0] | {"reports": plain} if len(plain) == 1 else {"reports": plain})


def _line(report: Report) -> str:
    seconds = sum(report.steps.values())
    if not report.passed:
        return f"{report.backup_id} of {report.database} FAILED: {report.reason}"
    notes = "".join(f" {note}" for note in report.notes)
    return (
        f"{report.backup_id} of {report.database} is verified: {report.tables} tables, "
        f"{report.rows:,} rows, {seconds:.1f} s.{notes}"
    )

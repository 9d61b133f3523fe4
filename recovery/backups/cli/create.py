from __future__ import annotations

import json as jsons
import signal
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from recovery import databases
from recovery.backups.attempts import Attempt
from recovery.backups.create import Created, make
from recovery.backups.progress import Progress, size_text
from recovery.backups.snapshot import only_tables
from recovery.databases import CONSOLE
from recovery.exceptions import BusyError, RecoveryError

HELP = "back a database up now"
BUSY = 3


def arguments(parser: CommandParser) -> None:
    parser.add_argument(
        "database", nargs="?", default=CONSOLE, help="as in BACKUP_DATABASES (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")


def run(command: BaseCommand, *, database: str, json: bool, **options: Any) -> str:
    attempt = Attempt(database)
    # As Ctrl-C does: what was begun is cleaned up, and entered as failed.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        created = make(attempt, databases.database(database), Progress(sys.stderr))
    except RecoveryError as exc:
        if json:
            command.stdout.write(_failure(attempt, exc))
        code = BUSY if isinstance(exc, BusyError) else 1
        raise CommandError(str(exc), returncode=code) from exc
    except KeyboardInterrupt:
        raise CommandError("It was interrupted; nothing was stored.") from None
    finally:
        signal.signal(signal.SIGTERM, before)
    shown = _as_json(created) if json else _sentence(created)
    if not created.is_complete:
        command.stdout.write(shown)
        raise CommandError(_missing(created))
    return shown


def _as_json(created: Created) -> str:
    manifest = created.manifest
    return jsons.dumps(
        {
            "id": manifest.id,
            "database": manifest.database,
            "state": "stored",
            "takenAt": manifest.taken_at.isoformat(),
            "size": manifest.size,
            "sha256": manifest.sha256,
            "copies": created.copies,
        }
    )


def _failure(attempt: Attempt, exc: RecoveryError) -> str:
    state = "busy" if isinstance(exc, BusyError) else "failed"
    return jsons.dumps(
        {"id": attempt.id, "database": attempt.database, "state": state, "reason": str(exc)}
    )


def _sentence(created: Created) -> str:
    manifest = created.manifest
    where = ", ".join(store for store, reason in created.copies.items() if not reason)
    return (
        f"Backup {manifest.id} of {manifest.database}: {size_text(manifest.size)}, "
        f"{len(only_tables(manifest.tables))} tables, in {where}."
    )


def _missing(created: Created) -> str:
    reasons = [reason for reason in created.copies.values() if reason]
    return "It counts, but is not in every store. " + " ".join(reasons)

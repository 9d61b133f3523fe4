from __future__ import annotations

import json
from argparse import RawDescriptionHelpFormatter
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import OperationalError

import audit
from audit.models import Action
from compliance_site.foundation import master_key, retired_keys, rewrap, ring_file
from compliance_site.foundation.master_key import EnvelopeError, MasterKey
from compliance_site.foundation.retired_keys import NotRetirableError
from compliance_site.foundation.ring_file import NoRingFileError

RESOURCE = "/master-key"
EXAMPLES = """examples:
  manage.py master_key status            which keys there are and what is under each
  manage.py master_key rotate            a new key encrypts; everything is put under it
  manage.py master_key rewrap            carry on where a rotation was interrupted
  manage.py master_key retire 3f2a... --yes
"""
BY_HAND = """\
The master key is in COMPLIANCE_MASTER_KEY, which the console cannot change. Rotate it by hand:
  1. Make a key:  openssl rand -hex 32
  2. Set COMPLIANCE_MASTER_KEY to the new key, a comma, and what it holds now.
     Where processes restart one after the other: first with next: before the new key
     everywhere, and only when all have restarted without that word.
  3. Restart every process of the console.
  4. Run:  manage.py master_key rewrap
Keep the old key behind the new one for as long as backups from before may be restored."""


class Command(BaseCommand):
    help = "Look at, rotate and retire the key under which the console seals secret values."

    def create_parser(self, *args: Any, **kwargs: Any) -> CommandParser:
        kwargs |= {"epilog": EXAMPLES, "formatter_class": RawDescriptionHelpFormatter}
        return super().create_parser(*args, **kwargs)

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        status = verbs.add_parser("status", help="keys and how many rows are under each")
        status.add_argument("--json", action="store_true", help="as one JSON object")
        verbs.add_parser("rotate", help="make a new key and put everything under it")
        verbs.add_parser("rewrap", help="put under the current key what is not yet")
        retire = verbs.add_parser("retire", help="remove old keys that no row needs")
        retire.add_argument("key_ids", nargs="+", metavar="KEY_ID", help="as status shows it")
        retire.add_argument(
            "--yes", action="store_true", help="no backup that needs them is ever restored"
        )

    def handle(self, *, verb: str, **options: Any) -> str:
        try:
            match verb:
                case "status":
                    return self.status(as_json=options["json"])
                case "rotate":
                    return self.rotate()
                case "rewrap":
                    with rewrap.at_work():
                        return self.rewrap()
                case _:
                    return self.retire(set(options["key_ids"]), sure=options["yes"])
        except NoRingFileError as exc:
            raise CommandError(BY_HAND) from exc
        except (EnvelopeError, rewrap.AtWorkError, NotRetirableError) as exc:
            raise CommandError(str(exc)) from exc

    def status(self, *, as_json: bool) -> str:
        rows, ring = rewrap.rows_by_key(), master_key.ring()
        keys = {key.id: "old" for key in ring.keys} | {ring.current.id: "current"}
        if ring.waiting:
            keys[ring.waiting.id] = "waiting"
        for key_id in sorted({key_id for counts in rows.values() for key_id in counts}):
            keys.setdefault(key_id, "missing")
        under = {
            key_id: {table: counts[key_id] for table, counts in rows.items() if key_id in counts}
            for key_id in keys
        }
        if as_json:
            shown = [{"id": key, "state": keys[key], "rows": under[key]} for key in keys]
            return json.dumps({"current": ring.current.id, "keys": shown})
        return "\n".join(line for key in keys for line in _lines(key, keys[key], under[key]))

    def rotate(self) -> str:
        with rewrap.at_work():
            ring_file.path()
            new, old = MasterKey.new(), master_key.ring().current.id
            # Recorded before the file, which no transaction undoes, is changed.
            audit.record(Action.ROTATE, resource=RESOURCE, details={"new": new.id, "old": old})
            ring_file.put_first(new)
            self.say(f"Master key {new.id} is the current one; {old} still decrypts.")
            return self.rewrap()

    def rewrap(self) -> str:
        current = master_key.ring().current.id
        done = rewrap.rewrap_all(lambda rows: self.say(f"Re-wrapped {rows} rows."))
        audit.record(
            Action.REWRAP,
            resource=RESOURCE,
            details={
                "current": current,
                "rewrapped": done.rewrapped,
                "left": done.left,
                "damaged": len(done.damaged),
            },
        )
        for row in done.damaged:
            self.stderr.write(row)
        if done.left:
            raise CommandError(
                f"Re-wrapped {done.rewrapped} rows; {done.left} are still under other keys, "
                f"{len(done.damaged)} of them do not open. Run `manage.py master_key rewrap` again."
            )
        return f"Re-wrapped {done.rewrapped} rows; all are under master key {current}."

    def say(self, progress: str) -> None:
        # Beside the result, and not in the red of errors.
        self.stderr.write(progress, style_func=str)

    def retire(self, key_ids: set[str], *, sure: bool) -> str:
        named = ", ".join(sorted(key_ids))
        if not sure:
            raise CommandError(
                f"Backups made while {named} was in use can never be opened again without it. "
                "Nothing was removed; repeat with --yes when none of them will be restored."
            )
        try:
            with rewrap.at_work(), rewrap.no_writers():
                retired_keys.check(key_ids)
                audit.record(Action.RETIRE, resource=RESOURCE, details={"keys": sorted(key_ids)})
                ring_file.remove(key_ids)
        except OperationalError as exc:
            raise CommandError("The tables are in use; nothing was removed. Try again.") from exc
        return f"Removed {named} from the key file."


def _lines(key_id: str, state: str, rows: dict[str, int]) -> list[str]:
    tables = [f"    {count:>9,}  {table}" for table, count in sorted(rows.items())]
    return [f"{key_id}  {state}, {sum(rows.values()):,} rows", *tables]

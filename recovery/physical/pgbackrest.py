"""An adapter for pgBackRest (2.45 and newer): a site that has it keeps it.

Its configuration stays its own: `archive_command`, repositories and retention are set up as its
manual says. The console asks it for backups, reads what it has and restores with it.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from shlex import quote
from typing import Any

from recovery.databases import Database
from recovery.exceptions import ConfigurationError, ProgramError, RefusedError
from recovery.physical import records
from recovery.physical.accounts import Account, account_of, run
from recovery.physical.archive import Identity
from recovery.physical.engine import BaseBackup, Engine, Plan, Span, Target, choose, outside
from recovery.physical.wal import Segment, lsn_text, parse_lsn
from recovery.programs import programs_for

VERSION_PARTS = 10_000
# pgBackRest archives finished segments of the size that servers have unless made otherwise.
SEGMENT_SIZE = 16 * 1024 * 1024
LOOK_BACK = 8
OK = 0


class PgBackRest(Engine):
    """Backups in the repositories of one stanza."""

    name = "pgbackrest"

    def __init__(self, database: Database, config: Path, stanza: str) -> None:
        self.database = database
        self.config = config
        self.stanza = stanza

    def account(self) -> Account:
        """Return the owner of its configuration, who is the owner of server and repository."""
        return account_of(self.config)

    def identity(self) -> Identity:
        info = self._info()
        system = str(info["db"][-1]["system-id"])
        return Identity(system, SEGMENT_SIZE, _version(info), self.database.user)

    def back_up(self, *, incremental: bool) -> BaseBackup:
        before = {each.id for each in self.backups()}
        self._run("backup", f"--type={'incr' if incremental else 'full'}", "--start-fast")
        made = [each for each in self.backups() if each.id not in before]
        if not made:
            raise ProgramError("pgbackrest said that it made a backup and lists none.")
        return made[-1]

    def can_increment(self) -> bool:
        return True

    def backups(self) -> list[BaseBackup]:
        return _backups(self._info())

    def check(self) -> list[str]:
        info = self._info()
        return [f"pgbackrest: {info['status']['message']}"] if info["status"]["code"] != OK else []

    def try_out(self) -> list[str]:
        # It makes the server begin a new segment, and waits for the old one.
        try:
            self._run("check")
        except ProgramError as exc:
            return [str(exc)]
        return []

    def covered(self) -> list[Span]:
        return self._covered(self._info())

    def _covered(self, info: Mapping[str, Any]) -> list[Span]:
        """Return one span, to the end of the newest transaction that was archived."""
        usable = [each for each in _backups(info) if not each.fault]
        archived = [str(each["max"]) for each in info["archive"] if each.get("max")]
        if not usable or not archived:
            return []
        newest = Segment.parse(archived[-1], SEGMENT_SIZE)
        first, last = usable[0], usable[-1]
        until = max(last.end, (newest.number + 1) * SEGMENT_SIZE)
        until_at = self._last_end(newest, last, _version(info)) or last.finished_at
        return [Span(first.end, first.finished_at, until, until_at, newest.timeline)]

    def plan(self, target: Target) -> Plan:
        if target.point:
            raise RefusedError(
                "The pgbackrest engine cannot tell beforehand whether a named point is archived: "
                "restore to its time or position."
            )
        info = self._info()
        spans = self._covered(info)
        if not spans:
            raise outside(target, spans)
        return choose(target, spans, _backups(info))

    def lay_out(self, plan: Plan, draft: Path, folder: Path, account: Account) -> Mapping[str, str]:
        self._run("restore", f"--pg1-path={draft}", f"--set={plan.backup.id}", "--type=default")
        get = [shutil.which("pgbackrest") or "pgbackrest", f"--config={self.config}"]
        get += [f"--stanza={self.stanza}", f"--pg1-path={folder}", "--log-level-file=off"]
        words = " ".join(quote(word) for word in get).replace("%", "%%")
        return {
            "restore_command": f'{words} archive-get %f "%p"',
            "recovery_target_timeline": str(plan.span.timeline),
        } | _stop(plan)

    def _info(self) -> dict[str, Any]:
        answer = json.loads(self._run("info", "--output=json"))
        for stanza in answer:
            if stanza.get("name") == self.stanza and stanza.get("db"):
                return dict(stanza)
        raise ConfigurationError(
            f"PGBACKREST_STANZA: {self.config} has no stanza {self.stanza!r} that was created."
        )

    def _run(self, command: str, *options: str) -> str:
        program = shutil.which("pgbackrest")
        if program is None:
            raise ConfigurationError("RECOVERY_ENGINE=pgbackrest: the program is not installed.")
        return run(
            [
                program,
                f"--config={self.config}",
                f"--stanza={self.stanza}",
                *("--log-level-console=off", "--log-level-stderr=error"),
                command,
                *options,
            ],
            account=self.account(),
        )

    def _last_end(self, newest: Segment, last: BaseBackup, version: int) -> datetime | None:
        """Return when the newest archived transaction ended, looking into the last segments.

        None, too, when the server's files are gone: pgBackRest reads segments only beside them.
        Positions, and the latest, can still be gone back to.
        """
        program = programs_for(version).path("pg_waldump")
        with tempfile.TemporaryDirectory(prefix="pitr-log-") as name:
            folder, account = Path(name), self.account()
            account.own(folder)
            until = (newest.number + 1) * SEGMENT_SIZE
            log = records.Log(folder, newest.timeline, SEGMENT_SIZE, until, program, account)
            oldest = max(newest.number - LOOK_BACK, last.end // SEGMENT_SIZE)
            for number in range(newest.number, oldest - 1, -1):
                segment = Segment(newest.timeline, number).name(SEGMENT_SIZE)
                try:
                    self._run("archive-get", segment, str(folder / segment))
                except ProgramError:
                    return None
                if at := records.last_end(log, number * SEGMENT_SIZE):
                    return at
        return None


def _stop(plan: Plan) -> dict[str, str]:
    if plan.target.at is not None:
        return {"recovery_target_time": plan.target.at.astimezone(UTC).isoformat(" ")}
    if plan.target.position is not None:
        position = lsn_text(plan.target.position)
        return {"recovery_target_lsn": position, "recovery_target_inclusive": "off"}
    return {}


def _version(info: Mapping[str, Any]) -> int:
    return int(str(info["db"][-1]["version"]).split(".")[0]) * VERSION_PARTS


def _backups(info: Mapping[str, Any]) -> list[BaseBackup]:
    return sorted(map(_backup, info["backup"]), key=lambda each: each.finished_at)


def _backup(found: Mapping[str, Any]) -> BaseBackup:
    return BaseBackup(
        id=str(found["label"]),
        parent=str(found.get("prior") or ""),
        started_at=datetime.fromtimestamp(found["timestamp"]["start"], UTC),
        finished_at=datetime.fromtimestamp(found["timestamp"]["stop"] + 1, UTC),
        timeline=int(str(found["archive"]["stop"])[:8], 16),
        start=parse_lsn(found["lsn"]["start"]),
        end=parse_lsn(found["lsn"]["stop"]),
        size_bytes=int(found["info"]["size"]),
        fault="it has damaged pages or files" if found.get("error") else "",
    )

"""The built-in engine: `pg_basebackup`, `pg_receivewal`, `pg_verifybackup`, `pg_combinebackup`."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, timedelta
from pathlib import Path
from shlex import quote

from recovery.databases import Database, typed
from recovery.exceptions import RefusedError, ServerAwayError
from recovery.physical import base_files, records, samples, server
from recovery.physical.accounts import Account, run
from recovery.physical.archive import Archive, Identity
from recovery.physical.base_files import new_id
from recovery.physical.copies import copy, refuse_tablespaces, require_room, verify
from recovery.physical.engine import (
    BaseBackup,
    Engine,
    Plan,
    Span,
    Target,
    TargetKind,
    choose,
    outside,
)
from recovery.physical.log_files import Gap, Survey
from recovery.physical.wal import Segment, lsn_text
from recovery.programs import programs_for

INCREMENTAL_SINCE = 170_000
ARCHIVED_SECONDS = 60.0
# A commit's time is taken a moment before its record is written.
CLOCKS_DIFFER = timedelta(seconds=30)
FETCH = "pitr_fetch_wal.sh"
FROZEN = "pitr_wal"


class BuiltIn(Engine):
    """Base backups and log in the archive's folder."""

    name = "builtin"

    def __init__(self, database: Database, archive: Archive) -> None:
        self.database = database
        self.archive = archive

    def identity(self) -> Identity:
        return self.archive.identity()

    def account(self) -> Account:
        return self.archive.account

    def backups(self) -> list[BaseBackup]:
        return base_files.read_all(self.archive)

    def back_up(self, *, incremental: bool) -> BaseBackup:
        identity = server.identify(self.database)
        self.archive.claim(identity)
        self._require_receiver()
        lock = self.archive.lock("base", "making or removing base backups")
        try:
            base_files.remove_drafts(self.archive)
            parent = self._parent(identity) if incremental else None
            return self._copy(identity, parent, lock)
        finally:
            os.close(lock)

    def can_increment(self) -> bool:
        return not self._lacks_for_increments(server.identify(self.database))

    def covered(self) -> list[Span]:
        return self._spans(*self._look())

    def check(self) -> list[str]:
        backups, survey = self._look()
        if survey is None:
            return [f"There is no log in {self.archive.wal}."]
        found = [f"{each.id}: {each.fault}" for each in backups if each.fault]
        if not backups:
            making = typed("base_backup create", self.database.name)
            found.append(f"There is no base backup: {making} makes one.")
        # One before the newest base backup that is of use is history.
        since = max((each.since for each in self._spans(backups, survey)), default=0)
        return [*found, *(f"The log has a gap. {gap}" for gap in survey.gaps if gap.end > since)]

    def gaps(self) -> tuple[Gap, ...]:
        """Return the gaps behind the oldest base backup."""
        survey = self._look()[1]
        return survey.gaps if survey else ()

    def plan(self, target: Target) -> Plan:
        samples.take(self.archive.samples, self.database, self.account())
        backups, survey = self._look()
        spans = self._spans(backups, survey)
        if survey and spans and target.at and target.at > spans[-1].until_at:
            spans[-1] = self._to_last_end(spans[-1], survey)
        if survey is None or not spans:
            raise outside(target, spans)
        if target.kind is TargetKind.LATEST and spans[-1].until < survey.end:
            raise RefusedError(
                f"The log has a gap before its end. {survey.gaps[-1]}. Covered: {spans[-1]}."
            )
        reached = self._locate(target, spans, survey) if target.point else target
        plan = choose(reached, spans, backups)
        needed = sum(each.size_bytes for each in base_files.chain(backups, plan.backup))
        return replace(plan, target=target, bytes_needed=needed)

    def lay_out(self, plan: Plan, draft: Path, folder: Path, account: Account) -> Mapping[str, str]:
        """The log that counts is fixed here: what arrives meanwhile is not replayed."""
        self._put_base(plan.backup, draft)
        survey = self.archive.survey(plan.backup.start)
        assert survey, "there was log when it was planned"
        frozen = draft / FROZEN
        frozen.mkdir(mode=0o700)
        account.own(frozen)
        until = self._freeze(plan, survey, frozen, account)
        stop = self._stop(plan, survey, until, frozen)
        shutil.copyfile(Path(__file__).with_name("fetch_wal.sh"), draft / FETCH)
        account.own(draft / FETCH)
        (draft / "recovery.signal").touch(mode=0o600)
        account.own(draft / "recovery.signal")
        return stop | {
            "restore_command": self._fetch(folder, until),
            "recovery_target_timeline": str(survey.line.timeline),
        }

    def _look(self) -> tuple[list[BaseBackup], Survey | None]:
        backups = self.backups()
        since = min((each.start for each in backups if not each.fault), default=None)
        return backups, self.archive.survey(since)

    def _spans(self, backups: Sequence[BaseBackup], survey: Survey | None) -> list[Span]:
        """Return the spans, of backups that the newest timeline descends from."""
        spans: dict[int, Span] = {}
        for backup in backups:
            if backup.fault or survey is None or not survey.line.includes(backup.timeline):
                continue
            until = survey.reach(backup.start)
            if until >= backup.end and until not in spans:
                sample = samples.newest_within(self.archive.samples, until)
                until_at = max(backup.finished_at, sample.at if sample else backup.finished_at)
                spans[until] = Span(
                    backup.end, backup.finished_at, until, until_at, survey.line.timeline
                )
        return list(spans.values())

    def _to_last_end(self, span: Span, survey: Survey) -> Span:
        """Look for transactions behind the last sample, which is older when the server is gone."""
        sample = samples.newest_within(self.archive.samples, span.until)
        since = max(span.since, sample.position if sample else 0)
        if since >= span.until:
            return span
        with records.log(self.archive, survey, since, span.until) as log:
            last = records.last_end(log, since)
        return replace(span, until_at=max(span.until_at, last or span.until_at))

    def _locate(self, target: Target, spans: Sequence[Span], survey: Survey) -> Target:
        """Find a named point in the log, from the newest span on."""
        found: list[int] = []
        for span in spans:
            with records.log(self.archive, survey, span.since, span.until) as log:
                found += records.points(log, target.point, span.since)
        if not found:
            raise outside(target, spans)
        if len(found) > 1:
            places = ", ".join(lsn_text(each) for each in found)
            raise RefusedError(
                f"The point {target.point!r} was made more than once, at {places}: "
                "name one of these with --to-lsn."
            )
        return Target(TargetKind.LSN, position=found[0])

    def _require_receiver(self) -> None:
        if not server.observe(self.database).receiving:
            raise RefusedError(
                "A base backup is of no use without the log since: nothing receives it. Start "
                f"{typed('wal_archive run', self.database.name)} first."
            )

    def _lacks_for_increments(self, identity: Identity) -> str:
        """Return what incremental backups need and the server lacks; "" when they can be made."""
        if identity.server_version < INCREMENTAL_SINCE:
            return "Incremental base backups need PostgreSQL 17 or newer."
        with server.asking(self.database) as connection:
            (summarizes,) = connection.execute("SHOW summarize_wal").fetchone()
        if summarizes != "on":
            return "Incremental base backups need the server's setting summarize_wal = on."
        return ""

    def _parent(self, identity: Identity) -> BaseBackup:
        if lacking := self._lacks_for_increments(identity):
            raise RefusedError(lacking)
        usable = [each for each in self.backups() if not each.fault]
        if not usable:
            raise RefusedError("There is no base backup that an incremental one could build on.")
        return usable[-1]

    def _copy(self, identity: Identity, parent: BaseBackup | None, lock: int) -> BaseBackup:
        programs, account = programs_for(identity.server_version), self.archive.account
        refuse_tablespaces(self.database)
        if parent is None:
            require_room(self.database, self.archive.base)
        started = server.observe(self.database)
        backup_id = new_id(started.at)
        draft = base_files.draft(self.archive, backup_id)
        command: list[str | Path] = [
            programs.path("pg_basebackup"),
            *(f"--pgdata={draft}", "--wal-method=none", "--checkpoint=fast", "--no-password"),
            *("--manifest-checksums=SHA256", f"--label={backup_id}"),
        ]
        if parent:
            manifest = base_files.folder(self.archive, parent.id) / base_files.MANIFEST
            command.append(f"--incremental={manifest}")
        try:
            copy(command, draft, account=account, database=self.database, lock=lock)
            verify(programs, draft, account)
            ended = server.observe(self.database)
            backup = base_files.describe(
                draft, backup_id, parent.id if parent else "", started.at, ended.at
            )
            self._wait_for(backup.end)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
        base_files.keep(self.archive, draft, backup)
        return backup

    def _wait_for(self, position: int) -> None:
        """Wait until the log is archived up to a position; without it the copy is no server."""
        deadline = time.monotonic() + ARCHIVED_SECONDS
        while (survey := self.archive.survey(position)) is None or survey.end < position:
            if time.monotonic() > deadline:
                raise ServerAwayError(
                    f"The log up to {lsn_text(position)}, which the base backup needs, did not get "
                    f"to the archive within {ARCHIVED_SECONDS:.0f} s. See "
                    f"{typed('wal_archive status', self.database.name)}."
                )
            time.sleep(0.1)

    def _put_base(self, backup: BaseBackup, draft: Path) -> None:
        """Copy a full backup, or put together an incremental one; damaged files end it."""
        programs, account = programs_for(self.identity().server_version), self.account()
        chain = base_files.chain(self.backups(), backup)
        folders = [base_files.folder(self.archive, each.id) for each in chain]
        for folder in folders:
            verify(programs, folder, account)
        draft.rmdir()
        if len(folders) == 1:
            run(["cp", "-a", "--reflink=auto", folders[0], draft], account=account)
            return
        combine = programs.path("pg_combinebackup")
        run([combine, *folders, f"--output={draft}"], account=account)
        verify(programs, draft, account)

    def _freeze(self, plan: Plan, survey: Survey, frozen: Path, account: Account) -> int:
        """Copy the segment that is still being written; return up to where the log counts."""
        reach = survey.reach(plan.backup.start)
        size = self.identity().segment_size
        if reach < survey.end or reach % size == 0:
            return reach
        last = survey.line.owner(reach // size)
        copy = frozen / last.name(size)
        shutil.copyfile(self.archive.file(last, size), copy)
        account.own(copy)
        return reach

    def _stop(self, plan: Plan, survey: Survey, until: int, frozen: Path) -> dict[str, str]:
        """Return where recovery ends; nothing when there is no record behind the target."""
        target, since = plan.target, plan.backup.start
        if target.point:
            return {"recovery_target_name": target.point}
        with records.log(self.archive, survey, since, until, frozen) as log:
            if target.position is not None:
                at = {"recovery_target_lsn": lsn_text(target.position)}
                at["recovery_target_inclusive"] = "off"
                return at if records.has_record_from(log, target.position) else {}
            if target.at is not None:
                before = samples.last_before(self.archive.samples, target.at - CLOCKS_DIFFER)
                position = max(plan.backup.end, before.position if before else 0)
                position = position if position <= until else plan.backup.end
                at = {"recovery_target_time": target.at.astimezone(UTC).isoformat(" ")}
                return at if records.has_end_after(log, target.at, position) else {}
        return {}

    def _fetch(self, folder: Path, until: int) -> str:
        size = self.identity().segment_size
        # The segments up to here must be there.
        end = Segment(0, -(-until // size)).name(size)[8:]
        words = ["/bin/sh", folder / FETCH, self.archive.wal, folder / FROZEN, end, str(size)]
        fixed = " ".join(quote(str(word)) for word in words).replace("%", "%%")
        return f'{fixed} %f "%p"'

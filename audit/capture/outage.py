"""What happens to entries while the database does not take them: spool, then replay in order."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import psycopg
from django.utils import timezone

from audit.capture.actors import Actor
from audit.capture.calls import new_id
from audit.capture.copy_rows import from_spool_line, spool_line
from audit.capture.log_store import UNSTORABLE, Backend, LogStore
from audit.capture.spool import Spool
from audit.models import Action, ActorType, AuditLog

logger = logging.getLogger(__name__)

REPLAY_LINES = 500
REPLAY_BYTES = 8 * 1024 * 1024
# So many batches are replayed before requests that wait get their turn.
BATCHES_AT_ONCE = 20
# How long after a failed replay the next one is tried; the writer wakes up as often.
PROBE_SECONDS = 1.0
WRITER = Actor(ActorType.TASK, "audit-writer")


class Outage:
    """Keeps entries in the spool and puts them into the log when the database is back.

    One thread at a time. Start and end of an outage are entries themselves.
    """

    def __init__(self, store: LogStore, spool: Spool, *, fail_closed: bool) -> None:
        self._store = store
        self._spool = spool
        self._fail_closed = fail_closed
        self._next_probe = 0.0
        self._spooled = self._lost = 0
        self._started_at: datetime | None = None
        # The entry of its end, once it was tried: the answer may be lost though it is stored.
        self._ending: AuditLog | None = None
        # The note that stands ahead of the spool; before the first replay, who knows whose.
        self._note_ahead: bytes | None = None
        self._has_lines = False
        self.is_on = False

    def take_over(self) -> None:
        """Go on with the replay that an earlier process left."""
        try:
            self.is_on = self._has_lines = not self._spool.is_empty()
        except OSError:
            logger.exception("The audit spool cannot be opened.")

    def begin(self) -> None:
        """Note that the database is away, and whose unfinished work has to end first."""
        self.is_on = True
        self._started_at = timezone.now()
        self._spooled = self._lost = 0
        start = [spool_line(_event(Action.AUDIT_OUTAGE_START, self._started_at, {}))]
        if backend := self._store.in_doubt:
            start.insert(0, _note_of(backend))
        if self._append(start):
            # Noted; else it is remembered as long as this process lives.
            self._store.in_doubt = None

    def keep(self, logs: Sequence[AuditLog]) -> int:
        """Make the entries durable in the spool; return how many may be acknowledged.

        With `AUDIT_FAIL_CLOSED` off that is all of them; what no disk took is counted as lost.
        """
        kept = self._append([spool_line(log) for log in logs])
        self._spooled += kept
        if kept == len(logs) or self._fail_closed:
            return kept
        self._lost += len(logs) - kept
        logger.critical("%d audit entries were lost so far: spool full.", self._lost)
        return len(logs)

    def try_to_end(self) -> None:
        """Replay some of the spool when a probe is due; the outage ends when it is empty."""
        if time.monotonic() < self._next_probe:
            return
        try:
            for _ in range(BATCHES_AT_ONCE):
                if self._replay_batch() == 0:
                    self._end()
                    return
        except (psycopg.Error, OSError) as exc:
            self._next_probe = time.monotonic() + PROBE_SECONDS
            logger.warning("The audit spool waits: %s", type(exc).__name__)

    def replay(self) -> int:
        """Replay everything now and return how many entries that were.

        Raise `psycopg.Error` or `OSError` when the database does not take them.
        """
        self.take_over()
        count = 0
        while replayed := self._replay_batch():
            count += replayed
        if self.is_on:
            self._end()
        return count

    def close(self) -> None:
        self._spool.close()

    def _append(self, lines: list[bytes]) -> int:
        try:
            kept = self._spool.append(lines)
        except OSError:
            logger.exception("The audit spool cannot be written.")
            return 0
        self._has_lines = self._has_lines or kept > 0
        return kept

    def _replay_batch(self) -> int:
        """Store the oldest spooled entries; return how many lines that were, 0 at the end."""
        # A replay that broke off may still be committed, and would not be seen yet.
        if self._store.in_doubt:
            self._store.end(self._store.in_doubt)
            self._store.in_doubt = None
        if self._is_spool_of_no_use():
            return 0
        if self._note_ahead is None:
            self._end_what_a_dead_process_left()
        batch = self._spool.oldest(REPLAY_LINES, REPLAY_BYTES)
        if not batch.size:
            return 0
        self._replay(batch.lines)
        self._spool.drop(batch)
        return max(1, len(batch.lines))

    def _replay(self, lines: list[bytes]) -> None:
        """Store the entries of these lines; what never can be is set aside for a person."""
        try:
            logs = [log for line in lines if (log := self._entry_of(line))]
            if logs:
                self._note_whose_commit_comes()
                self._store.add_missing(logs)
        except (*UNSTORABLE, KeyError, TypeError) as exc:
            if len(lines) > 1:
                for line in lines:
                    self._replay([line])
                return
            logger.critical("A spooled audit entry cannot be stored: %s", type(exc).__name__)
            self._lost += 1
            self._spool.set_aside(lines)

    def _is_spool_of_no_use(self) -> bool:
        """Tell whether an outage may end without the spool, which took nothing in it.

        Raise `OSError` when the spool cannot be opened, and may hold lines that are waited for.
        """
        try:
            self._spool.is_empty()
        except OSError:
            if self._has_lines or not self.is_on:
                raise
            return True
        return False

    def _end_what_a_dead_process_left(self) -> None:
        """End the server process that may still be committing a dead process's replay."""
        if line := self._spool.ahead():
            self._replay([line])
        self._note_ahead = b""

    def _note_whose_commit_comes(self) -> None:
        """Note which server process has to end first, should this process be killed meanwhile."""
        note = _note_of(self._store.backend())
        if note == self._note_ahead:
            return
        try:
            self._spool.keep_ahead(note)
            self._note_ahead = note
        except OSError:
            # A full disk is emptied by the replay, which must not wait for it.
            logger.exception("The audit spool is replayed without a note of who does so.")

    def _entry_of(self, line: bytes) -> AuditLog | None:
        """Read a line; None for the note of a server process, which has to end first."""
        values = json.loads(line)
        if "pid" in values:
            self._store.end(Backend(values["pid"], values["started"]))
            return None
        return from_spool_line(line)

    def _end(self) -> None:
        self._store.add_missing([self._entry_of_end()])
        self._started_at, self._ending, self.is_on, self._has_lines = None, None, False, False
        logger.warning("The audit spool is replayed; %d entries were lost.", self._lost)

    def _entry_of_end(self) -> AuditLog:
        """Return the same entry each time, unless more was spooled or lost since."""
        details = {
            "from": self._started_at and self._started_at.astimezone(UTC).isoformat(),
            "spooled": self._spooled,
            "lost": self._lost,
        }
        ending = _event(Action.AUDIT_OUTAGE_END, timezone.now(), details)
        if self._ending is None or self._ending.details != ending.details:
            self._ending = ending
        return self._ending


def _note_of(backend: Backend) -> bytes:
    return json.dumps({"pid": backend.pid, "started": backend.started}).encode()


def _event(action: str, moment: datetime, details: dict[str, Any]) -> AuditLog:
    return AuditLog(
        created_at=moment,
        event_id=new_id(),
        actor_type=WRITER.type,
        actor=WRITER.name,
        action=action,
        resource="audit_log",
        details=json.dumps(details, separators=(",", ":")) if details else "",
    )

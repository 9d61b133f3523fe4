"""One writer for each process: entries of requests that run at once share one commit.

A request hands its entry over and waits until it is durable: committed, or, when the
database does not answer, fsynced in the spool. Nothing is acknowledged before. Intents go
the same way, but only to the database: without it they are refused.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from dataclasses import dataclass, field

import psycopg

from audit.capture.calls import new_id
from audit.capture.log_store import UNSTORABLE, LogStore
from audit.capture.outage import PROBE_SECONDS, Outage
from audit.exceptions import UnrecordedError
from audit.models import AuditLog, Intent

logger = logging.getLogger(__name__)

LARGEST_GROUP = 1_000
MOST_WAITING = 10_000


@dataclass
class Ticket:
    """An entry or an intent on its way, and what became of it.

    Its request waits for a bare lock, which is held until the entry's fate is known: an
    `Event` would cost a condition for each request.
    """

    row: AuditLog | Intent
    refused: bool = False
    is_settled: bool = False
    _waiting: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._waiting.acquire()

    def wait(self) -> None:
        self._waiting.acquire()

    def settle(self, *, refused: bool) -> None:
        self.refused, self.is_settled = refused, True
        self._waiting.release()


class GroupWriter:
    """Commits entries in groups from a thread of its own; started by the first entry."""

    def __init__(self, store: LogStore, outage: Outage) -> None:
        self._store = store
        self._outage = outage
        self._waiting: deque[Ticket] = deque()
        self._arrived = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closing = False

    def commit(self, log: AuditLog) -> None:
        """Return when the entry is durable; raise `UnrecordedError` when it cannot be made so."""
        log.event_id = log.event_id or new_id()
        self._hand_over(Ticket(log))

    def announce(self, intent: Intent) -> None:
        """Return when the intent is committed; raise `UnrecordedError` when it cannot be."""
        self._hand_over(Ticket(intent))

    def _hand_over(self, ticket: Ticket) -> None:
        with self._arrived:
            if len(self._waiting) >= MOST_WAITING:
                raise UnrecordedError(UnrecordedError.__doc__)
            self._waiting.append(ticket)
            self.start()
            self._arrived.notify()
        ticket.wait()
        if ticket.refused:
            raise UnrecordedError(UnrecordedError.__doc__)

    def start(self) -> None:
        """Start the thread if it does not run, so that a spool left behind is replayed."""
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="audit-writer", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Write what waits and end the thread."""
        with self._arrived:
            self._closing = True
            thread = self._thread
            self._arrived.notify()
        if thread is not None:
            thread.join()
        self._store.close()
        self._outage.close()

    def _run(self) -> None:
        self._outage.take_over()
        while (group := self._next_group()) is not None:
            try:
                self._announce([ticket for ticket in group if isinstance(ticket.row, Intent)])
                self._settle([ticket for ticket in group if isinstance(ticket.row, AuditLog)])
                if self._outage.is_on:
                    self._outage.try_to_end()
            except Exception:
                # Whoever waits must not wait for ever, whatever went wrong, nor the next one.
                logger.exception("The audit writer failed.")
                self._release([ticket for ticket in group if not ticket.is_settled], kept=0)

    def _next_group(self) -> list[Ticket] | None:
        """Wait for entries; return an empty group now and then in an outage, None to close."""
        with self._arrived:
            patience = PROBE_SECONDS if self._outage.is_on else None
            self._arrived.wait_for(lambda: self._waiting or self._closing, patience)
            if self._closing and not self._waiting:
                # Whoever comes later starts another thread.
                self._thread = None
                return None
            size = min(len(self._waiting), LARGEST_GROUP)
            return [self._waiting.popleft() for _ in range(size)]

    def _announce(self, group: list[Ticket]) -> None:
        """Commit intents, or refuse them: in the spool they would be of no use."""
        intents = [ticket.row for ticket in group if isinstance(ticket.row, Intent)]
        # In an outage only a connection that replays just now is worth trying.
        if not intents or (self._outage.is_on and not self._store.is_connected):
            self._release(group, kept=0)
            return
        try:
            self._store.announce(intents)
        except (psycopg.Error, OSError) as exc:
            if not self._outage.is_on:
                self._notice_outage(exc)
            self._release(group, kept=0)
        else:
            self._release(group, kept=len(group))

    def _notice_outage(self, exc: Exception) -> None:
        logger.error("The database does not take audit entries: %s", type(exc).__name__)
        self._outage.begin()

    def _settle(self, group: list[Ticket]) -> None:
        """Make a group durable and release its requests."""
        logs = [ticket.row for ticket in group if isinstance(ticket.row, AuditLog)]
        if not logs:
            return
        if not self._outage.is_on:
            try:
                self._store.add(logs)
            except UNSTORABLE:
                self._settle_singly(group)
                return
            except (psycopg.Error, OSError) as exc:
                self._notice_outage(exc)
        kept = self._outage.keep(logs) if self._outage.is_on else len(logs)
        self._release(group, kept)

    def _settle_singly(self, group: list[Ticket]) -> None:
        """Find the entry that PostgreSQL cannot hold; only its request is refused."""
        if len(group) > 1:
            for ticket in group:
                self._settle([ticket])
            return
        logger.error("An audit entry cannot be stored: %r", group[0].row)
        self._release(group, kept=0)

    def _release(self, group: list[Ticket], kept: int) -> None:
        for number, ticket in enumerate(group):
            ticket.settle(refused=number >= kept)

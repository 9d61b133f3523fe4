"""Deliver a service's audit events to the console from one background thread.

Needs the standard library only. An event waits in memory until its batch is sent; what
the console cannot take waits in the spool and is retried. Each event has an id by which
the console stores it once, so repeating a batch is always safe.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from audit.capture.console_client import (
    BatchRefusedError,
    ConsoleClient,
    Rejection,
    UndeliveredError,
)
from audit.capture.spool import Spool

logger = logging.getLogger(__name__)

BATCH_EVENTS = 500
# Django refuses bodies above 2.5 MB unless told otherwise.
BATCH_BYTES = 2_000_000
BATCH_SECONDS = 0.2
FIRST_RETRY_SECONDS = 0.5
SLOWEST_RETRY_SECONDS = 30.0
SECONDS_BETWEEN_COMPLAINTS = 60.0
LONGEST_LOGGED_ERROR = 200


@dataclass
class DeliveryCounts:
    """What became of the events of this process; a spooled event is counted when it is sent."""

    delivered: int = 0
    rejected: int = 0
    dropped: int = 0


class Outbox:
    """Takes events at once and delivers them at least once while there is room on disk.

    A killed process loses what still waited in memory, at most a batch delay when the
    console answers.
    """

    _sender: threading.Thread | None

    def __init__(
        self,
        client: ConsoleClient,
        spool: Spool,
        *,
        max_events: int = 10_000,
        max_bytes: int = 32 * 1024 * 1024,
    ) -> None:
        self.counts = DeliveryCounts()
        self._client = client
        self._spool = spool
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._complain = RateLimitedLog()
        self._retry = Backoff()
        self._batch_limit = BATCH_EVENTS
        self._forget()

    def put(self, line: bytes) -> None:
        """Take one event as a line of JSON; waits for nothing but the disk when memory is full."""
        if os.getpid() != self._process:
            self._after_fork()
        with self._changed:
            fits = (
                len(self._waiting) < self._max_events
                and self._waiting_bytes + len(line) <= self._max_bytes
            )
            if fits:
                self._waiting.append(line)
                self._waiting_bytes += len(line)
                if len(self._waiting) in (1, BATCH_EVENTS):
                    self._changed.notify()
        # Not synced: the caller is answering a request. The sender's next batch syncs it.
        if not fits:
            self._count_dropped(self._to_spool([line], durable=False))
        self.start()

    def start(self) -> None:
        """Start the sender, which begins with what a former process left in the spool."""
        with self._changed:
            self._closing = False
            if self._sender is None or not self._sender.is_alive():
                self._sender = threading.Thread(target=self._run, name="audit-sender", daemon=True)
                self._sender.start()
                atexit.register(self.close)

    def close(self, timeout: float = 5.0) -> None:
        """Deliver what waits; spool what is not delivered before the timeout (seconds)."""
        if self._sender is None or os.getpid() != self._process:
            return
        with self._changed:
            self._closing = True
            self._deadline = time.monotonic() + timeout
            self._changed.notify()
        self._sender.join(timeout)
        atexit.unregister(self.close)

        with self._changed:
            left = [*self._in_flight, *self._waiting]
            self._waiting.clear()
            self._waiting_bytes = 0
        if left:
            self._count_dropped(self._to_spool(left))
        if not self._sender.is_alive():
            self._spool.close()

    def _forget(self) -> None:
        self._process = os.getpid()
        self._changed = threading.Condition()
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._in_flight: list[bytes] = []
        # Neither the console nor the spool took the last batch.
        self._is_stuck = False
        self._sender = None
        self._closing = False
        self._deadline = 0.0

    def _after_fork(self) -> None:
        # The parent delivers what was waiting; the child has no sender yet.
        self._spool.after_fork()
        self._forget()

    def _run(self) -> None:
        while not self._is_done():
            try:
                self._gather()
                self._deliver_gathered()
                self._replay()
            except Exception as exc:
                # The outermost loop of the thread. No message: it could quote an event.
                self._complain(f"The audit sender failed: {type(exc).__name__}")
                self._retry.fail()

    def _is_done(self) -> bool:
        if not self._closing:
            return False
        if time.monotonic() >= self._deadline:
            return True
        if self._waiting:
            return self._is_stuck and self._retry.is_waiting()
        return self._retry.is_waiting() or not self._has_spooled()

    def _gather(self) -> None:
        """Wait for a batch, or until there is something to retry, and take it out."""
        pause = self._retry.seconds_left() if self._has_spooled() else None
        with self._changed:
            if self._is_stuck:
                self._wait(lambda: False, self._retry.seconds_left())
            elif pause != 0:
                self._wait(lambda: bool(self._waiting), pause)
                self._wait(lambda: len(self._waiting) >= self._batch_limit, BATCH_SECONDS)
            size = 0
            while self._waiting and len(self._in_flight) < self._batch_limit and size < BATCH_BYTES:
                self._in_flight.append(self._waiting.popleft())
                size += len(self._in_flight[-1])
            self._waiting_bytes -= size

    def _wait(self, is_ready: Callable[[], bool], timeout: float | None) -> None:
        self._changed.wait_for(lambda: is_ready() or self._closing, timeout)

    def _deliver_gathered(self) -> None:
        left = self._in_flight
        # Behind what is spooled already, so that the console gets events in order.
        if left and not self._retry.is_waiting() and not self._has_spooled() and self._send(left):
            left = []
        if left:
            left = self._to_spool(left)
        with self._changed:
            self._is_stuck = bool(left)
            self._waiting.extendleft(reversed(left))
            self._waiting_bytes += sum(map(len, left))
            self._in_flight = []

    def _replay(self) -> None:
        if self._retry.is_waiting() or not self._has_spooled():
            return
        batch = self._spool.oldest(self._batch_limit, BATCH_BYTES)
        if not batch.lines or self._send(batch.lines):
            self._spool.drop(batch)

    def _send(self, lines: Sequence[bytes]) -> bool:
        """Tell whether the console is done with these lines, taken or rejected."""
        try:
            rejections = self._client.send(lines)
        except UndeliveredError as exc:
            self._complain(f"The console does not take audit events: {exc}")
            self._retry.fail()
            return False
        except BatchRefusedError as exc:
            if len(lines) > 1:
                # Halving finds the event that spoils the batch.
                self._batch_limit = len(lines) // 2
                return False
            rejections = [Rejection(0, str(exc))]
        self._retry.succeed()
        self._batch_limit = min(self._batch_limit * 2, BATCH_EVENTS)
        self._set_aside(lines, rejections)
        self.counts.delivered += len(lines) - len(rejections)
        self.counts.rejected += len(rejections)
        return True

    def _set_aside(self, lines: Sequence[bytes], rejections: Sequence[Rejection]) -> None:
        rejected = []
        for rejection in rejections:
            event = json.loads(lines[rejection.index])
            error = rejection.error[:LONGEST_LOGGED_ERROR]
            logger.error("The console rejected audit event %s: %r", event.get("id"), error)
            rejected.append(json.dumps({"error": error, "event": event}).encode())
        try:
            if rejected:
                self._spool.set_aside(rejected)
        except OSError as exc:
            self._complain(f"Rejected audit events could not be kept: {type(exc).__name__}")

    def _has_spooled(self) -> bool:
        try:
            return not self._spool.is_empty()
        except OSError as exc:
            self._complain(f"The audit spool cannot be used: {type(exc).__name__}")
            return False

    def _to_spool(self, lines: list[bytes], *, durable: bool = True) -> list[bytes]:
        """Spool the lines and return those that did not fit."""
        try:
            left = lines[self._spool.append(lines, durable=durable) :]
        except OSError as exc:
            self._complain(f"The audit spool cannot be used: {type(exc).__name__}")
            return lines
        if left:
            self._complain("The audit spool is full")
        return left

    def _count_dropped(self, lines: Sequence[bytes]) -> None:
        if not lines:
            return
        with self._changed:
            self.counts.dropped += len(lines)
        self._complain("Audit events were dropped: neither memory nor the spool has room")


class Backoff:
    """When to try again: twice as late after each failure, with jitter."""

    def __init__(self) -> None:
        self._delay = 0.0
        self._retry_at = 0.0

    def fail(self) -> None:
        self._delay = min(max(self._delay * 2, FIRST_RETRY_SECONDS), SLOWEST_RETRY_SECONDS)
        jitter = random.uniform(0.5, 1)  # noqa: S311  spreads load, guards nothing
        self._retry_at = time.monotonic() + self._delay * jitter

    def succeed(self) -> None:
        self._delay = self._retry_at = 0.0

    def seconds_left(self) -> float:
        return max(0.0, self._retry_at - time.monotonic())

    def is_waiting(self) -> bool:
        return self.seconds_left() > 0


class RateLimitedLog:
    """Logs each error at once and then at most once a minute."""

    def __init__(self) -> None:
        self._said_at: dict[str, float] = {}

    def __call__(self, complaint: str) -> None:
        now = time.monotonic()
        if now - self._said_at.get(complaint, -SECONDS_BETWEEN_COMPLAINTS) >= (
            SECONDS_BETWEEN_COMPLAINTS
        ):
            self._said_at[complaint] = now
            logger.error("%s.", complaint)

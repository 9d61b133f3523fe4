"""Ask each part at most once at a time, remember the answer, and never wait for it for long.

A backend that is frozen accepts and never answers: timeouts of servers and drivers do not end
that wait for certain. So a check runs in a thread of its own, whoever waits for it gives up at
its deadline, and until that thread has ended no second one asks the same part. A flood of
requests adds neither threads nor connections.
"""

from __future__ import annotations

import logging
import threading
import time
from datetime import UTC, datetime

from prometheus_client import Counter

from recovery.health.results import Check, Figures, Finding, Result, Status

logger = logging.getLogger(__name__)

# With `callers.PATIENCE_SECONDS` still below the two seconds in which every endpoint answers.
DEADLINE_SECONDS = 1.0
# A check gives up earlier than those who wait for it: they then learn what it learned.
CHECK_SECONDS = 0.9
FRESH_SECONDS = 2.0
NO_ANSWER = "It does not answer in time."
ASKED = Counter("health_probes", "Times that a part was really asked.", ["component"])


class Flight:
    """One run of a check, which any number of threads wait for."""

    def __init__(self, check: Check) -> None:
        self.check = check
        self.took_off_at = time.monotonic()
        self._result: Result | None = None
        self._landed = threading.Event()

    def land(self, result: Result) -> None:
        self._result = result
        self._landed.set()

    def result(self) -> Result:
        """Return what it found, or at its deadline that there is no answer."""
        self._landed.wait(max(0.0, self.took_off_at + DEADLINE_SECONDS - time.monotonic()))
        return self._result or no_answer(self.check)


class Probe:
    """A check with the answer it gave last.

    `behind` is the probe of the backend that this check asks as well. What one of the two learns
    of its silence counts for the other: else, as their answers grow old one after the other, those
    who queue would wait for a frozen backend again and again.
    """

    def __init__(
        self, check: Check, *, fresh_seconds: float = FRESH_SECONDS, behind: Probe | None = None
    ) -> None:
        self.check = check
        self._behind = behind
        self._fresh_seconds = fresh_seconds
        self._guard = threading.Lock()
        self._flight: Flight | None = None
        self._latest: Result | None = None
        self._latest_until = 0.0
        self._answered_at = 0.0
        # So that a counter exists, with 0, before the first trouble.
        ASKED.labels(check.name)

    def ask(self) -> Result | Flight:
        """Return the last answer while it is fresh, else the run under way; do not wait for it."""
        with self._guard:
            if (fresh := self._fresh()) is not None:
                return fresh
            if self._behind is not None and self._behind.is_known_silent():
                return no_answer(self.check)
            if self._flight is None:
                self._flight = self._take_off()
            return self._flight

    def result(self) -> Result:
        """Return the fresh answer, wait for the one under way, or say that there is none."""
        return waited(self.ask())

    def is_known_silent(self) -> bool:
        with self._guard:
            fresh = self._fresh()
            return fresh is not None and fresh.is_silent

    def note_silence(self, since: float) -> None:
        """Take it from somebody who has waited in vain since then, unless it answered meanwhile."""
        with self._guard:
            if self._answered_at < since:
                self._remember(no_answer(self.check))

    def forget(self) -> None:
        """Let the next caller ask anew."""
        with self._guard:
            self._latest_until = 0.0

    def _fresh(self) -> Result | None:
        return self._latest if time.monotonic() < self._latest_until else None

    def _take_off(self) -> Flight:
        flight = Flight(self.check)
        # Only a thread that runs will land the flight: should it not start, there is none.
        threading.Thread(
            target=self._fly, args=(flight,), name=f"health-{self.check.name}", daemon=True
        ).start()
        ASKED.labels(self.check.name).inc()
        return flight

    def _fly(self, flight: Flight) -> None:
        result = asked(self.check, flight.took_off_at + CHECK_SECONDS)
        if result.is_silent and self._behind is not None:
            self._behind.note_silence(flight.took_off_at)
        with self._guard:
            if not result.is_silent:
                self._answered_at = time.monotonic()
            self._remember(result)
            self._flight = None
        flight.land(result)

    def _remember(self, result: Result) -> None:
        # A change; a command, which asks once, has its own words.
        if self._latest is not None and self._latest.status != result.status:
            said = result.reason or "All is well."
            logger.warning("%s is %s: %s", result.component, result.status, said)
        self._latest = result
        self._latest_until = time.monotonic() + self._fresh_seconds


def waited(answer: Result | Flight) -> Result:
    """Return an answer, waiting for it until its deadline when it is still under way."""
    return answer.result() if isinstance(answer, Flight) else answer


def no_answer(check: Check) -> Result:
    return Result(check.name, check.when_silent, datetime.now(UTC), reason=NO_ANSWER)


def asked(check: Check, deadline: float) -> Result:
    """Run a check in this thread and return what it says, whatever happens in it."""
    started, taken_at = time.monotonic(), datetime.now(UTC)
    figures: Figures = {}
    try:
        figures, status, reason = check.run(deadline), Status.HEALTHY, ""
    except Finding as finding:
        figures, status, reason = finding.figures, finding.status, finding.reason
    except TimeoutError:
        return no_answer(check)
    # The outermost loop of this thread. No message: a driver's text names hosts and users.
    except Exception as exc:
        logger.error("The health check of %s failed: %s.", check.name, type(exc).__name__)
        return Result(check.name, check.when_silent, taken_at, 0, "It could not be checked.")
    took = round((time.monotonic() - started) * 1000)
    return Result(check.name, status, taken_at, took, reason, figures)

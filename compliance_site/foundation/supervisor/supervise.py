"""The supervisor's loop and its signals."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType

from compliance_site.foundation.supervisor.program import Leashed, Pace, Program

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
COLOURS = (36, 33, 35, 32, 34)
TICK_SECONDS = 0.1


class Supervisor:
    """Keep programs running until SIGINT, SIGTERM or SIGHUP; a second one kills them at once.

    `inherited` is a descriptor that stays open until the last program has ended.
    """

    def __init__(
        self, programs: Sequence[Program], *, pace: Pace | None = None, inherited: int | None = None
    ) -> None:
        self._pace = pace or Pace()
        self._programs = [
            Leashed(program, self._pace, self._write, inherited) for program in programs
        ]
        self._names = [program.name for program in programs]
        self._width = max((6, *map(len, self._names)))
        self._signals = 0
        self._writing = threading.Lock()

    @property
    def is_stopping(self) -> bool:
        return self._signals > 0

    def run(self, started: Callable[[], None] | None = None) -> None:
        """Run the programs, from the main thread; `started` is called once in a thread of its own."""
        with self._handling_signals():
            for program in self._programs:
                program.tend()
            if started:
                threading.Thread(target=started, daemon=True).start()
            while not self.is_stopping:
                time.sleep(TICK_SECONDS)
                for program in self._programs:
                    program.tend()
            self._stop()

    def _stop(self) -> None:
        for program in self._programs:
            program.let_go()
        # The leashes keep to the grace themselves; the rest is for one that cannot.
        deadline = time.monotonic() + self._pace.grace + 5
        killed = False
        while any(program.is_alive() for program in self._programs) and time.monotonic() < deadline:
            if self._signals > 1 and not killed:
                killed = True
                for program in self._programs:
                    program.kill()
            time.sleep(TICK_SECONDS / 4)
        for program in self._programs:
            program.forget()

    @contextmanager
    def _handling_signals(self) -> Iterator[None]:
        before = [(number, signal.signal(number, self._note_signal)) for number in SIGNALS]
        try:
            yield
        finally:
            for number, handler in before:
                signal.signal(number, handler)

    def _note_signal(self, number: int, frame: FrameType | None) -> None:
        self._signals += 1

    def _write(self, name: str, line: str) -> None:
        prefix = f"{name:<{self._width}} |"
        if sys.stdout.isatty():
            prefix = f"\033[{COLOURS[self._names.index(name) % len(COLOURS)]}m{prefix}\033[0m"
        # The terminal may be gone; the programs matter more than their output.
        with self._writing, suppress(OSError):
            print(f"{prefix} {line}", flush=True)  # noqa: T201 - showing it is its job

"""One supervised program: start, restart after a crash, stop."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

LEASH = Path(__file__).with_name("leash.py")

Write = Callable[[str, str], None]


@dataclass(frozen=True)
class Program:
    """A name for the log lines, a command line without secrets and additions to the environment."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Pace:
    """Seconds: the wait before a restart doubles from first to longest until a run lasts `healthy_after`."""

    first_delay: float = 1.0
    longest_delay: float = 30.0
    healthy_after: float = 30.0
    grace: float = 10.0


class Leashed:
    """A program that is started again whenever it ends, until it is let go."""

    def __init__(self, program: Program, pace: Pace, write: Write, inherited: int | None) -> None:
        self.program = program
        self._pace = pace
        self._write = write
        self._inherited = () if inherited is None else (inherited,)
        self._leash: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None
        self._started_at = 0.0
        self._due_at = 0.0
        self._delay = pace.first_delay

    def tend(self) -> None:
        """Start the program when that is due, and notice its end; never waits."""
        if self._leash is None:
            if time.monotonic() >= self._due_at:
                self._start()
        elif (status := self._leash.poll()) is not None:
            self._ended(self._leash, status)

    def let_go(self) -> None:
        """Ask the program to end; its leash kills it when it does not."""
        if self._leash and self._leash.stdin:
            self._leash.stdin.close()

    def kill(self) -> None:
        if self._leash:
            self._leash.terminate()

    def is_alive(self) -> bool:
        return self._leash is not None and self._leash.poll() is None

    def forget(self) -> None:
        """Kill even a leash that does not react, with all it held, and show the last output."""
        if self._leash and self.is_alive():
            self._leash.kill()
            self._leash.wait()
            _kill_session(self._leash.pid)
        if self._reader:
            self._reader.join(1)

    def _start(self) -> None:
        # -I -S: the leash needs nothing but the standard library.
        command = (
            sys.executable,
            "-I",
            "-S",
            str(LEASH),
            str(self._pace.grace),
            *self.program.command,
        )
        self._leash = subprocess.Popen(  # noqa: S603 - the caller's own programs
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=os.environ | self.program.environment,
            # Out of reach of Ctrl-C, which is for the supervisor to handle.
            start_new_session=True,
            pass_fds=self._inherited,
        )
        self._started_at = time.monotonic()
        self._reader = threading.Thread(target=self._copy_output, args=(self._leash,), daemon=True)
        self._reader.start()

    def _copy_output(self, leash: subprocess.Popen[bytes]) -> None:
        assert leash.stdout, "it was started with a pipe"
        with leash.stdout:
            for line in leash.stdout:
                self._write(self.program.name, line.decode(errors="replace").rstrip("\r\n"))

    def _ended(self, leash: subprocess.Popen[bytes], status: int) -> None:
        if status < 0:
            # Somebody killed the leash itself; its program would run on beside the next one.
            _kill_session(leash.pid)
        self.let_go()
        now = time.monotonic()
        if now - self._started_at >= self._pace.healthy_after:
            self._delay = self._pace.first_delay
        self._write(
            self.program.name, f"ended with status {status}; starts again in {self._delay:g} s"
        )
        self._leash, self._due_at = None, now + self._delay
        self._delay = min(self._delay * 2, self._pace.longest_delay)


def _kill_session(session: int) -> None:
    for pid in psutil.pids():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if os.getsid(pid) == session:
                os.kill(pid, signal.SIGKILL)

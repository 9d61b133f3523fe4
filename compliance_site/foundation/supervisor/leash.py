"""Hold one program on a leash: `python leash.py GRACE_SECONDS [--keep FD] PROGRAM ARGUMENT...`.

Standard input is a pipe that the supervisor holds and never writes to. When it closes, the
program gets SIGTERM and, GRACE_SECONDS later, its whole group SIGKILL. SIGTERM to the leash
skips the grace. The leash exits with the program's status. With `--keep` the program gets that
descriptor of the leash. It imports nothing of the console, to stay small.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from types import FrameType


def main(grace: float, command: list[str], kept: tuple[int, ...] = ()) -> int:
    """Run the command until it ends or is no longer wanted; return the status to exit with."""
    wakeup = _wake_on_signals(signal.SIGCHLD, signal.SIGTERM)
    # A group of its own, so that all of it can be killed. SIGTERM goes to the program alone:
    # Celery's pool processes would drop their tasks, Celery itself lets them finish first.
    program = subprocess.Popen(  # noqa: S603 - ours
        command, stdin=subprocess.DEVNULL, process_group=0, pass_fds=kept
    )
    if not _wait(program, wakeup, until_closed=True):
        program.send_signal(signal.SIGTERM)
        _wait(program, wakeup, seconds=grace)
    # Before its status is read: until then nobody else can get the group's number.
    os.killpg(program.pid, signal.SIGKILL)
    status = program.wait()
    return 128 - status if status < 0 else status


def _wake_on_signals(*numbers: signal.Signals) -> int:
    """Return a descriptor from which the number of each arriving signal can be read."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)
    for number in numbers:
        signal.signal(number, _noted)
    return reader


def _noted(number: int, frame: FrameType | None) -> None:
    """Do nothing: Python has written the number to the wake-up descriptor."""


def _wait(
    program: subprocess.Popen[bytes],
    wakeup: int,
    *,
    until_closed: bool = False,
    seconds: float | None = None,
) -> bool:
    """Wait for the program's end, or less long; return True when nothing but killing is left to do."""
    deadline = None if seconds is None else time.monotonic() + seconds
    watched = [wakeup, sys.stdin.fileno()] if until_closed else [wakeup]
    while not _has_ended(program):
        patience = None if deadline is None else deadline - time.monotonic()
        if patience is not None and patience <= 0:
            return False
        readable, _, _ = select.select(watched, [], [], patience)
        if wakeup in readable and signal.SIGTERM in os.read(wakeup, 512):
            return True
        if sys.stdin.fileno() in readable:
            return False
    return True


def _has_ended(program: subprocess.Popen[bytes]) -> bool:
    """Look without reading the status."""
    return os.waitid(os.P_PID, program.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


if __name__ == "__main__":
    if sys.argv[2] == "--keep":
        sys.exit(main(float(sys.argv[1]), sys.argv[4:], (int(sys.argv[3]),)))
    sys.exit(main(float(sys.argv[1]), sys.argv[2:]))

"""One console per checkout, also while a killed one is still being cleared away."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from compliance_site.foundation.embedded.locks import open_lock, try_exclusive

CONSOLE_LOCK = "console.lock"
# The leashes inherit this one, so it is free when the last of them has gone.
PROGRAMS_LOCK = "console.programs.lock"


class ConsoleLockedError(Exception):
    """A console of this checkout is running already."""


@contextmanager
def only_console(var: Path, *, patience: float = 20.0) -> Iterator[int]:
    """Be the only console on this `var/`; yield the descriptor that programs are to inherit.

    Raise ConsoleLockedError when another console runs, or when programs of one that was
    killed have not ended after `patience` seconds.
    """
    console = open_lock(var / CONSOLE_LOCK)
    programs = open_lock(var / PROGRAMS_LOCK)
    try:
        if not try_exclusive(console):
            raise ConsoleLockedError(
                f"A console is running already ({_holder(console)}). Stop it with Ctrl-C first."
            )
        os.ftruncate(console, 0)
        os.pwrite(console, f"process {os.getpid()}".encode(), 0)
        _wait_for_programs(programs, patience)
        yield programs
    finally:
        os.close(programs)
        os.close(console)


def _holder(console: int) -> str:
    return os.pread(console, 64, 0).decode() or "just starting"


def _wait_for_programs(programs: int, patience: float) -> None:
    deadline = time.monotonic() + patience
    while not try_exclusive(programs):
        if time.monotonic() > deadline:
            raise ConsoleLockedError(
                "Programs of the console before this one have not ended yet; try again."
            )
        time.sleep(0.1)

"""Run a hook: a program of the operator's, which gets a secret on its standard input only.

It gets no shell, no environment but a path, and no terminal; it and all it started (unless that
left its process group) are killed at the deadline. What it prints is bounded, and kept only
where somebody asked for it.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import stat
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from django.conf import settings

ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}
WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
POLL_SECONDS = 0.01


class HookRefusedError(Exception):
    """The program must not be run; the message says why."""


class HookFailedError(Exception):
    """The program did not end by itself with a status; the message is a phrase without its output."""


@dataclass(frozen=True)
class Ended:
    """How a hook ended. `output` may be anything, secrets included."""

    status: int
    output: bytes


def program(path: str) -> Path:
    """Return the real file to run; raise `HookRefusedError` unless the operator put it there."""
    if settings.ROTATION_HOOK_FOLDER is None:
        raise HookRefusedError("Hooks are refused: ROTATION_HOOK_FOLDER is not set.")
    if not os.path.isabs(path) or "\0" in path:
        raise HookRefusedError("The program is named by its absolute path.")
    try:
        folder = settings.ROTATION_HOOK_FOLDER.resolve(strict=True)
        real = Path(path).resolve(strict=True)
    except OSError:
        raise HookRefusedError("There is no such file.") from None
    if not real.is_relative_to(folder) or real == folder:
        raise HookRefusedError("The program has to be in ROTATION_HOOK_FOLDER.")
    if not real.is_file() or not os.access(real, os.X_OK):
        raise HookRefusedError("The file is not executable.")
    inside = [real, *(parent for parent in real.parents if parent.is_relative_to(folder))]
    if any(each.stat().st_mode & WRITABLE_BY_OTHERS for each in inside):
        raise HookRefusedError("The file or its folder can be written by others than its owner.")
    return real


def run(argv: Sequence[str], given: bytes, *, seconds: float, most_output: int = 0) -> Ended:
    """Run a program with `given` on its standard input; raise `HookFailedError`.

    Without `most_output` nothing that it prints is looked at.
    """
    deadline = time.monotonic() + seconds
    try:
        process = subprocess.Popen(  # noqa: S603  a list, and the operator's own program
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE if most_output else subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=ENVIRONMENT,
            cwd="/",
            start_new_session=True,
        )
    except (OSError, ValueError) as exc:
        raise HookFailedError(f"the hook could not be started: {type(exc).__name__}") from None
    assert process.stdin is not None
    # Killing the program ends the thread too, for nobody reads any more.
    feeder = threading.Thread(target=_feed, args=(process.stdin, given), daemon=True)
    feeder.start()
    try:
        output = _output(process, most_output, deadline)
        has_ended = _wait(process, deadline)
    finally:
        _kill_group(process)
        feeder.join()
    if not has_ended:
        raise HookFailedError(f"the hook took longer than {seconds:.0f} seconds")
    if len(output) > most_output:
        raise HookFailedError(f"the hook printed more than {most_output} bytes")
    if process.returncode < 0:
        raise HookFailedError(f"the hook was ended by signal {-process.returncode}")
    return Ended(process.returncode, output)


def _feed(stdin: IO[bytes], given: bytes) -> None:
    # A program need not read what it gets.
    with contextlib.suppress(OSError):
        stdin.write(given)
    with contextlib.suppress(OSError):
        stdin.close()


def _output(process: subprocess.Popen[bytes], most: int, deadline: float) -> bytes:
    """Read until the program closes its output or ends, one byte too many, or the deadline."""
    output = b""
    if process.stdout is None:
        return output
    with process.stdout as stdout:
        while len(output) <= most and time.monotonic() < deadline:
            had_ended = _has_ended(process)
            is_ready = bool(select.select([stdout], [], [], POLL_SECONDS)[0])
            part = os.read(stdout.fileno(), most + 1 - len(output)) if is_ready else b""
            if not part and (is_ready or had_ended):
                break
            output += part
    return output


def _wait(process: subprocess.Popen[bytes], deadline: float) -> bool:
    while not _has_ended(process):
        if time.monotonic() >= deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Tell whether it ended, leaving it unreaped: its number is not given to another one yet."""
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()

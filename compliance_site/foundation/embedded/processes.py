"""Start, recognise and stop a service's process.

A process is recognised by its program and arguments, which everybody may read in the
process table: unlike a pid file, those cannot be stale, and unlike a working directory
root can read them in a container without ptrace rights too.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil

from compliance_site.foundation.embedded.exceptions import EmbeddedError
from compliance_site.foundation.embedded.home import Home
from compliance_site.foundation.embedded.locks import keep_owner

LOG_LIMIT = 10_000_000
ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C"}
# Services outlive us, but until then they are our children: kept here, so that a dead one is
# reaped and Python does not warn about the others.
_launched: list[subprocess.Popen[bytes]] = []


def launch(home: Home, command: Sequence[str | Path], log: Path) -> psutil.Process:
    """Start a service as the home's account in a session of its own: Ctrl-C and hang-ups stay with us."""
    with open(_open_log(log), "ab") as output:
        try:
            process = subprocess.Popen(  # noqa: S603 - our own programs
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=home.path,
                env=ENVIRONMENT,
                start_new_session=True,
                user=home.account.uid,
                group=home.account.gid,
                extra_groups=home.account.groups,
            )
        except OSError as exc:
            raise EmbeddedError(f"{command[0]} cannot be run: {exc.strerror}.") from exc
    _launched.append(process)
    return psutil.Process(process.pid)


def run(
    home: Home, command: Sequence[str | Path], *, log: Path | None = None, text: str = ""
) -> bool:
    """Run a program as the home's account, `text` on its input; return whether it succeeded."""
    with open(os.devnull if log is None else _open_log(log), "ab") as output:
        finished = subprocess.run(  # noqa: S603 - our own programs
            command,
            input=text.encode(),
            stdout=output,
            stderr=output,
            cwd=home.path,
            env=ENVIRONMENT,
            start_new_session=True,
            user=home.account.uid,
            group=home.account.gid,
            extra_groups=home.account.groups,
            check=False,
        )
    return finished.returncode == 0


def _open_log(log: Path) -> int:
    if log.exists() and log.stat().st_size > LOG_LIMIT:
        log.replace(log.with_suffix(".log.1"))
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    keep_owner(log)
    return descriptor


def find(program: str, argument: str) -> psutil.Process | None:
    """Find the running process of that program name and argument.

    The oldest one: what a server has just forked still shows the server's arguments.
    """
    found = [
        process
        for process, command in _commands()
        if argument in command[1:] and os.path.basename(command[0]) == program
    ]
    return min(found, key=lambda process: process.create_time(), default=None)


def find_titled(prefix: str) -> list[psutil.Process]:
    """Find the processes that gave themselves a title with this prefix, as PostgreSQL's backends do."""
    return [process for process, command in _commands() if command[0].startswith(prefix)]


def _commands() -> Iterator[tuple[psutil.Process, list[str]]]:
    for process in psutil.process_iter(["cmdline"]):
        # A zombie, or a process of another user on macOS, has none.
        if process.info["cmdline"]:
            yield process, process.info["cmdline"]


def _reap() -> None:
    _launched[:] = [process for process in _launched if process.poll() is None]


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_until_gone(processes: Sequence[psutil.Process], seconds: float) -> bool:
    """Wait for processes that need not be our children; return whether all ended in time."""
    deadline = time.monotonic() + seconds
    while any(is_alive(process) for process in processes):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def terminate(process: psutil.Process, *steps: tuple[signal.Signals, float]) -> None:
    """Send each signal in turn until the process ends, giving it that many seconds; at last kill it."""
    for number, seconds in (*steps, (signal.SIGKILL, 5.0)):
        try:
            process.send_signal(number)
        except psutil.NoSuchProcess:
            break
        if wait_until_gone([process], seconds):
            break
    _reap()

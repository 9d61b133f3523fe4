"""Watches a dump: shows how far it is, and ends what would hang for ever.

A server that was frozen keeps its connections open and never answers; no timeout of its own ends
that. So while nothing moves the server is asked by a new connection, which has a deadline.
"""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import psycopg

from recovery.backups.manifest import TableFacts
from recovery.backups.progress import Progress
from recovery.databases import Database
from recovery.exceptions import ServerAwayError

LOOK_SECONDS = 0.5
# Nothing moved for so long: ask the server, and again.
QUIET_SECONDS = 30.0
# A server that answers others may still have a stuck process: then the dump ends anyhow.
STUCK_SECONDS = 1800.0


class Watch:
    """A context around a dump; `reason` says why it was ended, if it was."""

    def __init__(
        self,
        database: Database,
        connection: psycopg.Connection[Any],
        folder: Path,
        progress: Progress,
    ) -> None:
        self.reason: ServerAwayError | None = None
        self._database = database
        self._connection = connection
        self._folder = folder
        self._progress = progress
        self._process: subprocess.Popen[bytes] | None = None
        self._counted = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watches a dump", daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        if self._process:
            end(self._process)
        self._thread.join()

    def follow(self, process: subprocess.Popen[bytes]) -> None:
        """Watch this program too, after the one before; it is ended with the context."""
        if self._process:
            end(self._process)
        self._process = process

    def counted(self, table: TableFacts) -> None:
        self._counted += 1

    def _run(self) -> None:
        moved_at = wrote_at = time.monotonic()
        written, counted, misses = 0, 0, 0
        while not self._over.wait(LOOK_SECONDS):
            now, size = time.monotonic(), size_of(self._folder)
            self._progress.reached(size)
            if self._has_failed():
                self._hang_up()
                return
            if size != written:
                wrote_at = now
            if (size, self._counted) != (written, counted):
                moved_at, misses = now, 0
            elif now - moved_at > QUIET_SECONDS:
                misses = 0 if self._server_answers() else misses + 1
                moved_at = time.monotonic()
            written, counted = size, self._counted
            if misses > 1:
                self._end("The server stopped answering; the dump was ended.")
                return
            if self._is_dumping() and now - wrote_at > STUCK_SECONDS:
                self._end(f"pg_dump wrote nothing for {STUCK_SECONDS / 60:.0f} minutes.")
                return

    def _server_answers(self) -> bool:
        try:
            self._database.connect().close()
        except ServerAwayError:
            return False
        return True

    def _is_dumping(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _has_failed(self) -> bool:
        return self._process is not None and bool(self._process.poll())

    def _end(self, reason: str) -> None:
        self.reason = ServerAwayError(f"{self._database.name}: {reason}")
        if self._process:
            end(self._process)
        self._hang_up()

    def _hang_up(self) -> None:
        """Wake whoever waits for the connection: it is at its end."""
        if not self._connection.closed:
            with socket.socket(fileno=os.dup(self._connection.fileno())) as line:
                line.shutdown(socket.SHUT_RDWR)


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill a leashed program, if it still runs, and wait for its end."""
    if process.poll() is None:
        process.terminate()
    process.wait()
    if process.stdin:
        process.stdin.close()


def size_of(folder: Path) -> int:
    """Return how many bytes are in a folder that is being written."""
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(path, name)).st_size
            except FileNotFoundError:
                # It was there a moment ago.
                continue
    return total

"""The file in which events wait while the console cannot take them.

Needs the standard library only: it runs inside other services.
"""

from __future__ import annotations

import fcntl
import logging
import os
import threading
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

logger = logging.getLogger(__name__)

DEFAULT_MAX_BYTES = 64 * 1024 * 1024
# Worker processes with the same setting take `spool`, `spool.1`, `spool.2` ...
MAX_PROCESSES = 64
AHEAD = ".ahead"
REJECTED = ".rejected"


@dataclass(frozen=True)
class SpooledBatch:
    """The oldest lines of a spool, and how many bytes they (and unreadable ones) occupy."""

    lines: list[bytes]
    size: int


@dataclass(frozen=True)
class Sizes:
    """Bytes in the files of a spool: all that wait, the largest file's, and what was set aside."""

    waiting: int
    largest: int
    set_aside: int


class Spool:
    """Lines, first in, first out, on disk, checksummed and bounded; safe for many threads.

    It opens itself on first use and raises `OSError` when that fails. Each process locks a
    file of its own; the files that dead processes left are taken over when it opens. Lines
    are removed only after `drop`, so a crash repeats lines and never loses one. At most
    `max_bytes` of lines wait; with what is sent and not yet cut off, the file takes twice that.
    """

    def __init__(self, path: Path, max_bytes: int = DEFAULT_MAX_BYTES) -> None:
        self._configured_path = path
        self._max_bytes = max_bytes
        self._guard = threading.Lock()
        self.path = path
        self._file = self._lock = -1
        # What waits stands between these offsets of the file.
        self._start = self._end = 0

    def append(self, lines: Sequence[bytes], *, durable: bool = True) -> int:
        """Write the lines that fit, oldest first, and return how many did."""
        framed = [_framed(line) for line in lines]
        with self._guard:
            self._open()
            room = self._max_bytes - (self._end - self._start)
            fitting = 0
            while fitting < len(framed) and (room := room - len(framed[fitting])) >= 0:
                fitting += 1
            self._write(b"".join(framed[:fitting]), durable=durable)
            return fitting

    def oldest(self, max_lines: int, max_bytes: int) -> SpooledBatch:
        """Return the lines that have waited longest; they stay until `drop`."""
        with self._guard:
            self._open()
            chunk = os.pread(self._file, max_bytes, self._start)
            whole_lines = chunk[: chunk.rfind(b"\n") + 1] or chunk
            taken = whole_lines.splitlines(keepends=True)[:max_lines]
        readable = [line for line in map(_unframed, taken) if line is not None]
        if len(readable) < len(taken):
            logger.warning("Skipped %d unreadable spool lines.", len(taken) - len(readable))
        return SpooledBatch(readable, sum(map(len, taken)))

    def drop(self, batch: SpooledBatch) -> None:
        """Remove what `oldest` returned."""
        with self._guard:
            self._open()
            self._start += batch.size
            if self._start >= self._end:
                os.ftruncate(self._file, 0)
                self._start = self._end = 0
            elif self._start >= self._max_bytes:
                self._cut_off_what_was_dropped()

    def is_empty(self) -> bool:
        with self._guard:
            self._open()
            return self._start == self._end

    def keep_ahead(self, line: bytes) -> None:
        """Keep one line for the next process with this file, which reads it before all others."""
        with self._guard:
            self._open()
            path = _suffixed(self.path, AHEAD)
        file = _open_private(path)
        try:
            os.ftruncate(file, 0)
            _write_all(file, _framed(line))
            os.fsync(file)
        finally:
            os.close(file)
        _sync_folder(path.parent)

    def ahead(self) -> bytes | None:
        """Return the line that was kept ahead last, None when there is none to be read."""
        with self._guard:
            self._open()
            return _line_ahead(self.path)

    def set_aside(self, lines: Sequence[bytes]) -> None:
        """Keep lines for a person in `<spool>.rejected`, which is bounded like the spool."""
        with self._guard:
            self._open()
            path = _suffixed(self.path, REJECTED)
        file = _open_private(path)
        try:
            if os.fstat(file).st_size > self._max_bytes:
                raise OSError(f"{path} is full")
            _write_all(file, b"".join(line + b"\n" for line in lines))
            os.fsync(file)
        finally:
            os.close(file)

    def close(self) -> None:
        """Give the file up for other processes; the next use opens it again."""
        with self._guard:
            self._close()

    def after_fork(self) -> None:
        """Leave the file to the parent process: this one will take another."""
        self._guard = threading.Lock()
        # Closing the child's copies does not unlock the parent's.
        self.close()

    def _close(self) -> None:
        for file in (self._file, self._lock):
            if file >= 0:
                os.close(file)
        self.path = self._configured_path
        self._file = self._lock = -1
        self._start = self._end = 0

    def _open(self) -> None:
        if self._file >= 0:
            return
        self._configured_path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path, self._lock = _lock_first_free(self._configured_path)
        try:
            self._file = _open_private(self.path)
            _sync_folder(self.path.parent)
            self._end = _repaired_size(self._file, self.path)
            self._take_over_orphans()
        except OSError:
            self._close()
            raise

    def _take_over_orphans(self) -> None:
        for path in _candidates(self._configured_path):
            if path == self.path or not path.exists():
                continue
            try:
                self._take_over(path)
            except OSError:
                # It stays for the next process, and this one has a file of its own.
                logger.exception("The spool %s cannot be taken over.", path)

    def _take_over(self, path: Path) -> None:
        """Take the lines of a dead process, unless it lives or another one did so just now."""
        lock = _try_lock(path)
        if lock is None:
            return
        try:
            if not path.exists() or path.stat().st_size > self._max_bytes - self._end:
                return
            left_behind, ahead = path.read_bytes(), _line_ahead(path)
            whole_lines = left_behind[: left_behind.rfind(b"\n") + 1]
            self._write((_framed(ahead) if ahead else b"") + whole_lines, durable=True)
            path.unlink()
            _suffixed(path, AHEAD).unlink(missing_ok=True)
        finally:
            os.close(lock)

    def _write(self, content: bytes, *, durable: bool) -> None:
        try:
            _write_all(self._file, content)
            if durable:
                os.fsync(self._file)
        except OSError:
            # Half a line in the middle would spoil the one that follows.
            os.ftruncate(self._file, self._end)
            raise
        self._end += len(content)

    def _cut_off_what_was_dropped(self) -> None:
        copy_path = _suffixed(self.path, ".tmp")
        copy_path.unlink(missing_ok=True)
        copy = _open_private(copy_path)
        try:
            _write_all(copy, os.pread(self._file, self._end - self._start, self._start))
            os.fsync(copy)
            copy_path.replace(self.path)
        except OSError:
            os.close(copy)
            raise
        os.close(self._file)
        self._file = copy
        self._start, self._end = 0, self._end - self._start


def waiting(path: Path) -> list[tuple[Path, int]]:
    """Return the files of a spool that hold lines, with how many; also those in use."""
    counts = [
        (candidate, candidate.read_bytes().count(b"\n"))
        for candidate in _candidates(path)
        if candidate.exists()
    ]
    return [(candidate, count) for candidate, count in counts if count]


def sizes(path: Path) -> Sizes:
    """Return how much lies on disk, without reading it; what is being replayed counts as waiting."""
    waiting = [_size(candidate) for candidate in _candidates(path)]
    set_aside = sum(_size(_suffixed(each, REJECTED)) for each in _candidates(path))
    return Sizes(waiting=sum(waiting), largest=max(waiting), set_aside=set_aside)


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except FileNotFoundError:
        return 0


def _candidates(path: Path) -> Iterator[Path]:
    yield path
    for number in range(1, MAX_PROCESSES):
        yield _suffixed(path, f".{number}")


def _lock_first_free(path: Path) -> tuple[Path, int]:
    for candidate in _candidates(path):
        try:
            lock = _try_lock(candidate)
        except PermissionError:
            # Another user's, as after a command that root ran; the next one may be ours.
            continue
        if lock is not None:
            return candidate, lock
    raise OSError(f"None of {MAX_PROCESSES} files at {path} can be locked")


def _try_lock(path: Path) -> int | None:
    # Beside the spool, not on it: cutting it off replaces the file.
    lock = _open_private(_suffixed(path, ".lock"))
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


def _repaired_size(file: int, path: Path) -> int:
    """Drop the line that a killed process did not finish; return the size of the rest."""
    content_size = os.fstat(file).st_size
    size = content_size
    while size:
        start = max(0, size - 65_536)
        newline = os.pread(file, size - start, start).rfind(b"\n")
        if newline >= 0:
            size = start + newline + 1
            break
        size = start
    if size < content_size:
        logger.warning("Dropped an unfinished line at the end of %s.", path)
        os.ftruncate(file, size)
    return size


def _line_ahead(path: Path) -> bytes | None:
    try:
        return _unframed(_suffixed(path, AHEAD).read_bytes())
    except FileNotFoundError:
        return None


def _framed(line: bytes) -> bytes:
    """Return the record of a line on disk: its CRC-32 in hex, a blank, the line."""
    return b"%08x %s\n" % (zlib.crc32(line), line)


def _unframed(record: bytes) -> bytes | None:
    """Return the line of a record, None when the disk did not keep it as it was written."""
    checksum, _, line = record.rstrip(b"\n").partition(b" ")
    return line if checksum == b"%08x" % zlib.crc32(line) else None


def _open_private(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
    file = os.open(path, flags, 0o600)
    os.fchmod(file, 0o600)
    return file


def _sync_folder(folder: Path) -> None:
    """Make a new file's name as durable as its content."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_all(file: int, content: bytes) -> None:
    remaining = memoryview(content)
    while remaining:
        remaining = remaining[os.write(file, remaining) :]


def _suffixed(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)

"""Files that hold secrets: changed as a whole or not at all, by one process at a time."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePath

LOCK_SECONDS = 5.0
LARGEST = 1_000_000
OPEN = os.O_NOFOLLOW | os.O_CLOEXEC
OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
OPEN_NEW = os.O_CREAT | os.O_EXCL | os.O_WRONLY | OPEN


@contextmanager
def locked(folder: Path, name: PurePath) -> Iterator[PrivateFile]:
    """Hold the lock of the folder in which a file is read and replaced.

    `name` may lead into folders below, of which none may be a link; whatever is put in their
    place meanwhile does not matter. The kernel lets go of the lock after kill -9. Raise
    `OSError`, also when another process holds the lock for five seconds.
    """
    opened = _opened(folder, name)
    try:
        _lock(opened)
        yield PrivateFile(opened, name.name)
    finally:
        os.close(opened)


@dataclass(frozen=True)
class PrivateFile:
    """A file's place in a folder that is open and locked."""

    folder: int
    name: str

    def read(self) -> str | None:
        """Return the text, None where there is no file; raise `OSError` for what is no file."""
        try:
            # Without waiting: a named pipe would hold the reader for ever.
            file = os.open(self.name, os.O_RDONLY | os.O_NONBLOCK | OPEN, dir_fd=self.folder)
        except FileNotFoundError:
            return None
        with open(file, encoding="utf-8", errors="replace", newline="") as opened:
            if not stat.S_ISREG(os.fstat(file).st_mode):
                raise OSError(errno.EINVAL, "not an ordinary file", self.name)
            if os.fstat(file).st_size > LARGEST:
                raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), self.name)
            return opened.read()

    def replace(self, text: str) -> None:
        """Write the file anew; after kill -9 or a power cut it is the old one or the new one.

        Owner, group and the group's right to read stay, others get no right; a new file has
        mode 0600. Raise `OSError`, with nothing changed, when it cannot be written so.
        """
        draft = f".{self.name}.new"
        # What a killed process left; its text may be a secret.
        self._remove(draft)
        try:
            self._write(draft, text)
            os.rename(draft, self.name, src_dir_fd=self.folder, dst_dir_fd=self.folder)
        except BaseException:
            self._remove(draft)
            raise
        os.fsync(self.folder)

    def _write(self, draft: str, text: str) -> None:
        like = self._ordinary()
        descriptor = os.open(draft, OPEN_NEW, 0o600, dir_fd=self.folder)
        with open(descriptor, "w", encoding="utf-8", newline="") as file:
            if like:
                _give_to(descriptor, like)
                os.fchmod(descriptor, 0o600 | like.st_mode & stat.S_IRGRP)
            elif os.geteuid() == 0:
                # Root may be at work in a service's folder.
                _give_to(descriptor, os.fstat(self.folder))
            file.write(text)
            file.flush()
            os.fsync(descriptor)

    def _ordinary(self) -> os.stat_result | None:
        """Return what the file is like, None when there is none."""
        try:
            found = os.stat(self.name, dir_fd=self.folder, follow_symlinks=False)
        except FileNotFoundError:
            return None
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "not an ordinary file", self.name)
        return found

    def _remove(self, name: str) -> None:
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self.folder)


def _opened(folder: Path, name: PurePath) -> int:
    """Open the innermost folder of a name, each one below the other."""
    opened = os.open(folder, OPEN_FOLDER)
    for part in name.parts[:-1]:
        outer = opened
        try:
            opened = os.open(part, OPEN_FOLDER | os.O_NOFOLLOW, dir_fd=outer)
        finally:
            os.close(outer)
    return opened


def _lock(folder: int) -> None:
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise OSError(errno.EBUSY, "another process is at work in the folder") from None
        time.sleep(0.02)


def _give_to(descriptor: int, like: os.stat_result) -> None:
    """Keep owner and group; raise `OSError` when whoever has the file could not read the new one."""
    made = os.fstat(descriptor)
    if (made.st_uid, made.st_gid) != (like.st_uid, like.st_gid):
        os.fchown(descriptor, like.st_uid, like.st_gid)

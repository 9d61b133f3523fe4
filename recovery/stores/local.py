"""A folder of this machine, or one that is mounted here.

A file is written under a hidden name, made durable, and only then linked to its own: what a
crash leaves is never taken for a backup. A symbolic link inside the folder is never followed.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from recovery.exceptions import StoreError
from recovery.stores.base import FILE_NAME, Sink, Store, split

TEMPORARY = ".writing-"
# Where a file system knows no hard links.
NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
BUFFER = 1 << 20
MISSING = "; the first backup makes the folder, unless its disk is not mounted"


@dataclass(frozen=True)
class _File:
    """A file that has no name of its own yet."""

    store: str
    folder: int
    descriptor: int
    temporary: str
    name: str
    replace: bool

    def write(self, data: bytes) -> int:
        with _told(self.store):
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(self.descriptor, rest) :]
        return len(data)

    def commit(self) -> None:
        with _told(self.store, self.name):
            os.fsync(self.descriptor)
            if self.replace:
                os.rename(self.temporary, self.name, src_dir_fd=self.folder, dst_dir_fd=self.folder)
            else:
                self._link()
            os.fsync(self.folder)

    def _link(self) -> None:
        try:
            os.link(
                self.temporary,
                self.name,
                src_dir_fd=self.folder,
                dst_dir_fd=self.folder,
                follow_symlinks=False,
            )
        except OSError as exc:
            if exc.errno not in NO_LINKS:
                raise
            # Only the name of a fact can be taken: that of a backup is random.
            os.close(os.open(self.name, os.O_CREAT | os.O_EXCL, 0o600, dir_fd=self.folder))
            os.rename(self.temporary, self.name, src_dir_fd=self.folder, dst_dir_fd=self.folder)


class LocalStore(Store):
    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = str(path)

    @contextmanager
    def create(self, name: str, *, replace: bool = False) -> Iterator[Sink]:
        database, file = split(name)
        with self._folder(database, make=True) as folder, _told(self.name):
            temporary, descriptor = _open_temporary(folder)
        # The folder stays open by a descriptor of the file's own.
        with self._folder(database) as folder:
            try:
                yield _File(self.name, folder, descriptor, temporary, file, replace)
            finally:
                os.close(descriptor)
                with suppress(FileNotFoundError):
                    os.unlink(temporary, dir_fd=folder)

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        database, file = split(name)
        with self._folder(database) as folder:
            with _told(self.name, name):
                descriptor = _open_file(file, folder)
            with os.fdopen(descriptor, "rb", buffering=BUFFER) as stream:
                yield stream

    def names(self, database: str) -> Iterator[str]:
        if not self._has(database):
            return
        with self._folder(database) as folder, _told(self.name):
            found = [
                f"{database}/{entry.name}"
                for entry in os.scandir(folder)
                if entry.is_file(follow_symlinks=False)
            ]
        yield from sorted(name for name in found if FILE_NAME.fullmatch(name))

    def size(self, name: str) -> int:
        database, file = split(name)
        with self._folder(database) as folder, _told(self.name, name):
            return os.stat(file, dir_fd=folder, follow_symlinks=False).st_size

    def delete(self, name: str) -> None:
        database, file = split(name)
        if not self._has(database):
            return
        with self._folder(database) as folder, _told(self.name, name):
            with suppress(FileNotFoundError):
                os.unlink(file, dir_fd=folder)
            os.fsync(folder)

    def is_there(self) -> bool:
        return self.path.is_dir()

    def free_bytes(self) -> int | None:
        with _told(self.name):
            usage = os.statvfs(_nearest(self.path))
        return usage.f_bavail * usage.f_frsize

    def sweep(self, database: str) -> None:
        if not self.path.exists() or not self._has(database):
            return
        with self._folder(database) as folder, _told(self.name):
            for name in os.listdir(folder):
                if name.startswith(TEMPORARY):
                    _remove_abandoned(name, folder)

    def _has(self, database: str) -> bool:
        """Say whether the database has a folder; no folder at all may be a disk not mounted."""
        with _told(self.name):
            return database in os.listdir(self.path)

    @contextmanager
    def _folder(self, database: str, *, make: bool = False) -> Iterator[int]:
        with _told(self.name):
            if make:
                self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            root = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
            try:
                folder = _open_folder(database, root, make=make)
            finally:
                os.close(root)
        try:
            yield folder
        finally:
            os.close(folder)


def _open_folder(database: str, root: int, *, make: bool) -> int:
    if make:
        with suppress(FileExistsError):
            os.mkdir(database, 0o700, dir_fd=root)
            os.fsync(root)
    return os.open(database, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=root)


def _open_file(file: str, folder: int) -> int:
    # O_NONBLOCK: a pipe of this name must not make the reader wait.
    descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        # What was just written is read from the disk, not from memory.
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        return descriptor
    os.close(descriptor)
    raise FileNotFoundError(errno.ENOENT, "no regular file")


def _open_temporary(folder: int) -> tuple[str, int]:
    """Make a hidden file; its lock says that somebody is writing it."""
    while True:
        name = TEMPORARY + secrets.token_hex(8)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        descriptor = os.open(name, flags, 0o600, dir_fd=folder)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        # A sweeper may have had it between the two calls.
        if os.fstat(descriptor).st_nlink:
            return name, descriptor
        os.close(descriptor)


def _remove_abandoned(name: str, folder: int) -> None:
    try:
        descriptor = os.open(name, os.O_WRONLY | os.O_NOFOLLOW, dir_fd=folder)
    except OSError:
        # Gone meanwhile, or nothing that was made here.
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(name, dir_fd=folder)
    except (BlockingIOError, FileNotFoundError):
        # Another process is writing it, or has just finished.
        return
    finally:
        os.close(descriptor)


def _nearest(path: Path) -> Path:
    return next(each for each in (path, *path.parents) if each.exists())


@contextmanager
def _told(store: str, name: str = "") -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        what = f"{store}/{name}" if name else store
        hint = MISSING if isinstance(exc, FileNotFoundError) and not name else ""
        raise StoreError(f"{what}: {exc.strerror or type(exc).__name__}{hint}.") from None

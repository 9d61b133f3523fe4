"""Files that processes lock (flock): the kernel lets go of them even after kill -9."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from compliance_site.foundation.embedded.exceptions import EmbeddedError


def make_folder(folder: Path) -> None:
    """Make `folder` and its parents; one that exists keeps its mode and owner."""
    if not folder.exists():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        keep_owner(folder)


def keep_owner(path: Path) -> None:
    """Give what root made to the owner of its folder: root may be at work in a user's checkout."""
    if os.geteuid() == 0:
        folder = path.parent.stat()
        os.chown(path, folder.st_uid, folder.st_gid, follow_symlinks=False)


def open_lock(path: Path) -> int:
    """Open a lock file and return its descriptor; closing that drops the lock."""
    try:
        make_folder(path.parent)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        keep_owner(path)
    except OSError as exc:
        raise EmbeddedError(
            f"{path} cannot be written ({exc.strerror}); does it belong to another user?"
        ) from exc
    return descriptor


def try_exclusive(descriptor: int) -> bool:
    """Take the lock alone, or return False at once. A shared lock held before is lost either way."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the lock alone, waiting for it as long as it takes."""
    descriptor = open_lock(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)

"""Databases that live for one verification, and what killed verifications left of theirs.

Each has a file in RECOVERY_FOLDER, written before the database is made and locked for as long
as its process lives. Only what such a file names is ever dropped.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings

from compliance_site.foundation.embedded.locks import make_folder
from recovery.backups import contents
from recovery.databases import Database
from recovery.exceptions import RecoveryError
from recovery.restore import beside

NAME = re.compile(r"compliance_verify_[0-9a-f]{16}")


@contextmanager
def scratch(target: Database) -> Iterator[tuple[Database, Path]]:
    """Lend a name for a database on the server of `target`, and a work folder; remove both after.

    Raise `RecoveryError` when RECOVERY_FOLDER takes no file.
    """
    name = f"compliance_verify_{secrets.token_hex(8)}"
    descriptor = _marked(name, target.name)
    try:
        yield target.on(name), _work(name)
    finally:
        try:
            _remove(target, name)
        finally:
            # What could not be dropped now is known by its file, which nobody locks any more.
            os.close(descriptor)


def drop_leftovers(target: Database) -> list[str]:
    """Drop the scratch databases of killed verifications of `target`; return their names."""
    dropped = []
    for path in sorted(folder().iterdir()):
        if NAME.fullmatch(path.name) and not path.is_symlink():
            dropped += _dropped(path, target)
    return dropped


def folder() -> Path:
    path: Path = settings.RECOVERY_FOLDER / "scratch"
    try:
        make_folder(path)
    except OSError as exc:
        raise RecoveryError(f"RECOVERY_FOLDER cannot be written: {exc.strerror}.") from None
    return path


def _marked(name: str, database: str) -> int:
    """Write the file of a scratch database, locked before it is there under its name."""
    draft = folder() / f".{name}"
    try:
        descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
        os.write(descriptor, database.encode())
        os.fsync(descriptor)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.rename(draft, folder() / name)
    except OSError as exc:
        raise RecoveryError(f"RECOVERY_FOLDER cannot be written: {exc.strerror}.") from None
    return descriptor


def _dropped(path: Path, target: Database) -> list[str]:
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.read(descriptor, 100).decode(errors="replace") != target.name:
            return []
        _remove(target, path.name)
    except BlockingIOError:
        # A verification is at work in it.
        return []
    finally:
        os.close(descriptor)
    return [path.name]


def _remove(target: Database, name: str) -> None:
    contents.remove(_work(name))
    beside.drop(target.on(name))
    (folder() / name).unlink(missing_ok=True)


def _work(name: str) -> Path:
    path: Path = settings.RECOVERY_FOLDER / "work" / name
    return path

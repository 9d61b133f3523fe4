"""Replace a file below `DELIVERY_FOLDER`: whole or not at all, and nowhere else.

The folders of a path are opened one below the other without following a link, and everything
then happens relative to the innermost: what a link or a renamed folder points to meanwhile
does not matter. Whoever works in a folder holds its lock.
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings

from secrets_rotation.delivery.destinations.base import Parcel, refuse_older
from secrets_rotation.exceptions import DeliveryError

NO_FOLDER = "DELIVERY_FOLDER is not set; set it to the folder below which files may be delivered."
# Our own files: what is being written, and which version of which secret is where.
OURS = ".delivery-"
NEW, RECORD = f"{OURS}new", f"{OURS}record"
MODES = ("0600", "0640", "0400", "0440")
LARGEST = 1_000_000
LOCK_SECONDS = 5.0
OPEN = os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True)
class Existing:
    """The file as it was found."""

    content: bytes
    state: os.stat_result

    def is_like(self, content: bytes, mode: int) -> bool:
        return self.content == content and stat.S_IMODE(self.state.st_mode) == mode


def path_problem(path: str) -> str:
    """Return what is wrong with a path below the folder, "" when nothing is."""
    if settings.DELIVERY_FOLDER is None:
        return NO_FOLDER
    parts = path.split("/")
    if path.startswith("/") or any(part in {"", ".", ".."} for part in parts) or "\0" in path:
        return "This must be a path below DELIVERY_FOLDER, without '..' and without a first '/'."
    if any(part.startswith(OURS) for part in parts):
        return f"Names that begin with {OURS} are the console's own."
    return ""


def mode_problem(mode: str) -> str:
    return "" if mode in MODES else f"This must be one of {', '.join(MODES)}."


@contextmanager
def locked(path: str) -> Iterator[Place]:
    """Open and lock the folder of a path below `DELIVERY_FOLDER`.

    Whatever the file system refuses inside becomes a `DeliveryError`.
    """
    if problem := path_problem(path):
        raise DeliveryError(problem)
    try:
        folder = _opened(settings.DELIVERY_FOLDER or Path(), path.split("/")[:-1])
        try:
            _lock(folder)
            yield Place(folder, path, path.split("/")[-1])
        finally:
            os.close(folder)
    except OSError as exc:
        raise DeliveryError(f"{path}: {exc.strerror}.") from None


@dataclass(frozen=True)
class Place:
    """A file's place in a folder that is open and locked."""

    folder: int
    path: str
    name: str

    def existing(self) -> Existing | None:
        """Return the file, None when there is none; raise `DeliveryError` for what is no file."""
        return self._read(self.name)

    def replace(self, content: bytes, mode: int, found: Existing | None) -> None:
        """Put the content in the file's place, unless it is there already.

        The owner stays. Raise `DeliveryError` when whoever may read the file now could not read
        the new one, and when somebody else has changed it since it was found.
        """
        if found is None or not found.is_like(content, mode):
            self._put(self.name, content, mode, found)

    def remember(self, parcel: Parcel, keys: tuple[str, ...] = ("",)) -> None:
        """Note which version goes there; raise `DeliveryError` when a newer one is noted.

        Noted before it is written: one whose process was frozen meanwhile finds the note.
        """
        found = self._read(RECORD)
        notes = self._notes(found)
        for key in (f"{self.name}|{key}" for key in keys):
            note = notes.get(key, {})
            refuse_older(parcel, note["version"] if note.get("secret") == parcel.secret else None)
            notes[key] = {"secret": parcel.secret, "version": parcel.number}
        content = json.dumps(notes, indent=1, sort_keys=True).encode()
        if found is None or found.content != content:
            self._put(RECORD, content, 0o600, found)

    def _notes(self, found: Existing | None) -> dict[str, dict[str, Any]]:
        try:
            notes = json.loads(found.content) if found else {}
        except ValueError:
            notes = None
        if not isinstance(notes, dict):
            raise DeliveryError(f"{RECORD} beside {self.path} is not readable; remove it.")
        return notes

    def _read(self, name: str) -> Existing | None:
        try:
            # Without waiting: a named pipe would hold the reader for ever.
            file = os.open(name, os.O_RDONLY | os.O_NONBLOCK | OPEN, dir_fd=self.folder)
        except FileNotFoundError:
            return None
        try:
            return Existing(self._content(file), os.fstat(file))
        finally:
            os.close(file)

    def _content(self, file: int) -> bytes:
        state = os.fstat(file)
        if not stat.S_ISREG(state.st_mode):
            raise DeliveryError(f"{self.path} is there, but is no ordinary file.")
        if state.st_size > LARGEST:
            raise DeliveryError(f"{self.path} is larger than {LARGEST} bytes.")
        with open(file, "rb", closefd=False) as opened:
            return opened.read()

    def _put(self, name: str, content: bytes, mode: int, found: Existing | None) -> None:
        # What a killed process left behind.
        with suppress(FileNotFoundError):
            os.unlink(NEW, dir_fd=self.folder)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | OPEN
        try:
            with open(os.open(NEW, flags, 0o600, dir_fd=self.folder), "wb") as file:
                file.write(content)
                file.flush()
                _give_owner(file.fileno(), mode, found.state if found else None)
                os.fsync(file.fileno())
            self._confirm_unchanged(name, found)
            os.rename(NEW, name, src_dir_fd=self.folder, dst_dir_fd=self.folder)
        except (OSError, DeliveryError):
            with suppress(OSError):
                os.unlink(NEW, dir_fd=self.folder)
            raise
        os.fsync(self.folder)

    def _confirm_unchanged(self, name: str, found: Existing | None) -> None:
        try:
            state = os.stat(name, dir_fd=self.folder, follow_symlinks=False)
        except FileNotFoundError:
            state = None
        if _identity(state) != _identity(found.state if found else None):
            raise DeliveryError(f"{self.path} was changed by somebody else at this moment.")


def _identity(state: os.stat_result | None) -> tuple[int, ...] | None:
    return state and (state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)


def _opened(outermost: Path, folders: list[str]) -> int:
    """Open the delivery folder and, one below the other, the folders in it."""
    folder = os.open(outermost, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    for name in folders:
        outer = folder
        try:
            folder = os.open(name, os.O_RDONLY | os.O_DIRECTORY | OPEN, dir_fd=outer)
        finally:
            os.close(outer)
    return folder


def _lock(folder: int) -> None:
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise DeliveryError("Another process has been at work in the folder.") from None
        time.sleep(0.02)


def _give_owner(file: int, mode: int, before: os.stat_result | None) -> None:
    """Give the new file the old one's group and owner, as far as the console may.

    Raise `DeliveryError` when those who read the old file could then not read the new one.
    """
    keeps_group = before is None or _changed(file, -1, before.st_gid)
    os.fchmod(file, mode)
    keeps_owner = before is None or _changed(file, before.st_uid, -1)
    if not keeps_owner and not (keeps_group and mode & 0o040):
        raise DeliveryError("The file belongs to another user, who could not read a new one.")
    if not keeps_group and mode & 0o040:
        raise DeliveryError("The file belongs to another group, which could not read a new one.")


def _changed(file: int, owner: int, group: int) -> bool:
    state = os.fstat(file)
    if owner in {-1, state.st_uid} and group in {-1, state.st_gid}:
        return True
    try:
        os.fchown(file, owner, group)
    except PermissionError:
        return False
    return True

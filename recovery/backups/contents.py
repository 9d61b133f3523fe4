"""What is in a backup, unpacked into a private folder; nothing of it is believed before it fits.

The stored bytes are counted and hashed as they are read. The tar inside was made by whoever
holds the console's public key, so its names, kinds and sizes are bounded all the same.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, cast

from compliance_site.foundation.embedded.locks import make_folder
from recovery import sealing
from recovery.backups.manifest import DatabaseFacts, Manifest
from recovery.backups.progress import size_text
from recovery.backups.source import Source
from recovery.exceptions import DamagedError, RecoveryError, RefusedError
from recovery.stores.base import Store

# The only names in it; pg_dump's folder is flat.
MEMBER = re.compile(
    r"README\.txt|globals\.sql|settings\.json|dump|dump/[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}"
)
MOST_MEMBERS = 1_000_000
CHUNK = 1 << 20
# Beside the contents: states, what PostgreSQL's programs write, others at work.
SPARE = 64 << 20
LARGEST_SETTINGS = 10_000_000
DUMP = "dump"


class Hashed:
    """A stored file that is read, counted and hashed; it ends with an error behind `size`."""

    def __init__(self, stored: BinaryIO, size: int) -> None:
        self._stored, self._left = stored, size
        self._digest = hashlib.sha256()

    def read(self, count: int = -1) -> bytes:
        block = self._stored.read(min(count, CHUNK) if count >= 0 else CHUNK)
        self._left -= len(block)
        if self._left < 0:
            raise DamagedError("The stored backup is longer than it was.")
        self._digest.update(block)
        return block

    def check(self, manifest: Manifest) -> None:
        """Read to the end; raise `DamagedError` unless it is what was stored."""
        while self.read(CHUNK):
            pass
        if self._left:
            raise DamagedError(f"The stored backup is cut off: {self._left} bytes are missing.")
        if self._digest.hexdigest() != manifest.sha256:
            raise DamagedError("The stored backup was changed: its SHA-256 is another one.")


def unpack(source: Source, folder: Path, store: Store | None = None) -> None:
    """Unpack a copy of a backup into a new private folder, its bytes checked to the last one.

    Raise `DamagedError`, `SealError`, `StoreError`, or `RefusedError` when it does not fit.
    """
    manifest = source.manifest
    try:
        make_folder(folder.parent)
        require_room(folder.parent, manifest.size)
        folder.mkdir(mode=0o700)
        with source.opened(store or source.copies()[0]) as stored:
            hashed = Hashed(stored, manifest.size)
            with sealing.open_sealed(cast(BinaryIO, hashed)) as plain:
                _untar(plain, folder, manifest.size)
            hashed.check(manifest)
    except OSError as exc:
        raise RecoveryError(
            f"The backup could not be unpacked in RECOVERY_FOLDER: {exc.strerror or 'it broke off'}."
        ) from None
    if not (folder / DUMP / "toc.dat").is_file():
        raise DamagedError("The backup holds no dump.")


def check(source: Source, store: Store) -> None:
    """Read a copy to its end; raise `DamagedError`, naming the store, unless it is what was stored."""
    try:
        with source.opened(store) as stored:
            Hashed(stored, source.manifest.size).check(source.manifest)
    except DamagedError as exc:
        raise DamagedError(f"{store.name}: {exc}") from None


def with_settings(folder: Path, facts: DatabaseFacts) -> DatabaseFacts:
    """Return a manifest's facts with the values of settings, which are sealed with the dump.

    Raise `DamagedError` when what was unpacked has other settings than the manifest names.
    """
    try:
        with open(folder / "settings.json") as file:
            found = json.loads(file.read(LARGEST_SETTINGS))
        settings = tuple((str(role), str(setting)) for role, setting in found)
    except (OSError, ValueError, TypeError, RecursionError):
        raise DamagedError("The backup holds no settings that can be read.") from None
    whole = replace(facts, settings=settings)
    if whole.without_values() != facts:
        raise DamagedError("The backup holds other settings than its manifest names.")
    return whole


def remove(folder: Path) -> None:
    """Remove a work folder; one that is not there is no error."""
    shutil.rmtree(folder, ignore_errors=True)


def require_room(folder: Path, size: int) -> None:
    """Raise `RefusedError` unless so many bytes fit into the folder."""
    free = shutil.disk_usage(folder).free
    if free < size + SPARE:
        raise RefusedError(
            f"RECOVERY_FOLDER has {size_text(free)} free; this backup needs "
            f"{size_text(size + SPARE)} there while it is restored."
        )


def _untar(plain: BinaryIO, folder: Path, size: int) -> None:
    """Write the members down; raise `DamagedError` for one that no backup of ours holds."""
    left = size
    try:
        with tarfile.open(fileobj=plain, mode="r|") as tar:
            for number, member in enumerate(tar, 1):
                left -= member.size
                _refuse_foreign(member, number, left)
                tar.extract(member, folder, filter="data")
    except (tarfile.TarError, ValueError, OverflowError, EOFError):
        raise DamagedError("The backup holds no tar archive that can be read.") from None


def _refuse_foreign(member: tarfile.TarInfo, number: int, left: int) -> None:
    is_plain = member.isreg() or (member.isdir() and member.name == DUMP)
    if not is_plain or member.issparse() or not MEMBER.fullmatch(member.name):
        raise DamagedError("The backup holds a file that the console never puts into one.")
    if left < 0 or number > MOST_MEMBERS:
        raise DamagedError("The backup holds more than was put into it.")

"""The master key: a ring whose first key encrypts and whose others only decrypt.

`COMPLIANCE_MASTER_KEY` holds the ring itself, `COMPLIANCE_MASTER_KEY_FILE` names the file that
does; only a file can be rotated by the console. Keys are 32 bytes in base64 or hex, separated
by commas or line breaks; `#` begins a comment line. Retired keys stay in the ring for as long as
a backup sealed under them may be restored.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from django.conf import settings

KEY_BYTES = 32


class EnvelopeError(Exception):
    """Something sealed cannot be opened here."""


class UnknownKeyError(EnvelopeError):
    """The master key under which this was sealed is not in the ring."""

    def __init__(self, key_id: str) -> None:
        super().__init__(f"No master key {key_id} in COMPLIANCE_MASTER_KEY or its file.")


class MasterKeyError(EnvelopeError):
    """COMPLIANCE_MASTER_KEY is not set, or not base64 or hex of 32 bytes each."""


@dataclass(frozen=True)
class MasterKey:
    key: bytes = field(repr=False)

    @property
    def id(self) -> str:
        """Return a name that tells nothing about the key."""
        return hashlib.sha256(b"compliance master key id|" + self.key).hexdigest()[:16]

    @property
    def text(self) -> str:
        return base64.urlsafe_b64encode(self.key).decode()


@dataclass(frozen=True)
class Ring:
    keys: tuple[MasterKey, ...]

    @classmethod
    def of(cls, text: str) -> Ring:
        """Parse a ring; raise `MasterKeyError`, which never holds a key."""
        lines = (line for line in text.splitlines() if not line.lstrip().startswith("#"))
        words = ",".join(lines).replace(",", " ").split()
        keys = tuple(_parsed(word) for word in words)
        if not keys:
            raise MasterKeyError(MasterKeyError.__doc__)
        return cls(keys)

    @property
    def current(self) -> MasterKey:
        return self.keys[0]

    def find(self, key_id: str) -> MasterKey | None:
        return next((key for key in self.keys if key.id == key_id), None)


_guard = threading.Lock()
_known: tuple[object, Ring] | None = None


def ring() -> Ring:
    """Return the ring, read anew when its file has changed; raise `MasterKeyError`."""
    global _known
    source, state = _source()
    with _guard:
        if _known is None or _known[0] != (source, state):
            text = Path(source).read_text("ascii") if isinstance(source, Path) else source
            _known = (source, state), Ring.of(text)
        return _known[1]


def find(key_id: str) -> MasterKey:
    """Return the key with this id; raise `UnknownKeyError`."""
    key = ring().find(key_id)
    if key is None:
        raise UnknownKeyError(key_id)
    return key


def _source() -> tuple[Path | str, Iterable[int]]:
    """Return where the ring is, and what changes when it does."""
    path: Path | None = settings.COMPLIANCE_MASTER_KEY_FILE
    if path is None:
        return settings.COMPLIANCE_MASTER_KEY, ()
    try:
        state = path.stat()
    except OSError as exc:
        raise MasterKeyError(f"COMPLIANCE_MASTER_KEY_FILE: {exc.strerror}: {path}") from exc
    return path, (state.st_mtime_ns, state.st_ino, state.st_size)


def _parsed(word: str) -> MasterKey:
    try:
        if len(word) == 2 * KEY_BYTES:
            key = bytes.fromhex(word)
        else:
            key = base64.b64decode(word, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise MasterKeyError(MasterKeyError.__doc__) from None
    if len(key) != KEY_BYTES:
        raise MasterKeyError(MasterKeyError.__doc__)
    return MasterKey(key)

"""The master key: a ring whose first key encrypts and whose others only decrypt.

`COMPLIANCE_MASTER_KEY` holds the ring itself, `COMPLIANCE_MASTER_KEY_FILE` names the file that
does; only a file can be rotated by the console. Keys are 32 bytes in base64 or hex, separated
by commas or line breaks; `#` begins a comment line. Retired keys stay in the ring for as long as
a backup sealed under them may be restored. `next:` before a key says that it waits to become
the first and decrypts meanwhile.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path

from django.conf import settings

KEY_BYTES = 32
WAITS = "next:"
HEADER = "# Written by the console. The first key encrypts, the others decrypt what is older.\n"

# Where the ring is, and what changes when it does.
type Source = tuple[Path | str, tuple[int, ...]]


class EnvelopeError(Exception):
    """Something sealed cannot be opened here."""


class UnknownKeyError(EnvelopeError):
    """The master key under which this was sealed is not in the ring."""

    def __init__(self, key_id: str) -> None:
        super().__init__(f"No master key {key_id} in COMPLIANCE_MASTER_KEY or its file.")


class MasterKeyError(EnvelopeError):
    """The ring is not set, not readable, or not base64 or hex of 32 bytes each."""


@dataclass(frozen=True)
class MasterKey:
    key: bytes = field(repr=False)

    @classmethod
    def new(cls) -> MasterKey:
        return cls(os.urandom(KEY_BYTES))

    @property
    def id(self) -> str:
        """Return a name that tells nothing about the key."""
        return hashlib.sha256(b"compliance master key id|" + self.key).hexdigest()[:16]

    @property
    def text(self) -> str:
        return base64.urlsafe_b64encode(self.key).decode()


@dataclass(frozen=True)
class Ring:
    """Never empty; `waiting` is not one of `keys`."""

    keys: tuple[MasterKey, ...]
    waiting: MasterKey | None = None

    @classmethod
    def of(cls, text: str) -> Ring:
        """Parse a ring; raise `MasterKeyError`, which never holds a key."""
        lines = (line for line in text.splitlines() if not line.lstrip().startswith("#"))
        words = ",".join(lines).replace(",", " ").split()
        # A key that stands there twice is one key.
        keys = tuple(dict.fromkeys(_parsed(word) for word in words if not word.startswith(WAITS)))
        waiting = [_parsed(word.removeprefix(WAITS)) for word in words if word.startswith(WAITS)]
        if not keys:
            raise MasterKeyError("There is no master key that encrypts.")
        if len(waiting) > 1 or set(waiting) & set(keys):
            raise MasterKeyError(f"One key at most may be marked {WAITS} and none twice.")
        return cls(keys, waiting[0] if waiting else None)

    @property
    def current(self) -> MasterKey:
        return self.keys[0]

    @property
    def text(self) -> str:
        """Return the ring as a file holds it."""
        waiting = f"{WAITS}{self.waiting.text}\n" if self.waiting else ""
        return HEADER + waiting + "".join(f"{key.text}\n" for key in self.keys)

    def find(self, key_id: str) -> MasterKey | None:
        known = (*self.keys, self.waiting) if self.waiting else self.keys
        return next((key for key in known if key.id == key_id), None)

    def with_first(self, key: MasterKey) -> Ring:
        """Return a ring with this key, new or one of its own, before all others."""
        others = tuple(other for other in self.keys if other != key)
        return Ring((key, *others), None if self.waiting == key else self.waiting)

    def without(self, key_ids: set[str]) -> Ring:
        """Return a ring that no longer has these keys; the current one always stays."""
        keys = (key for key in self.keys[1:] if key.id not in key_ids)
        is_gone = self.waiting is not None and self.waiting.id in key_ids
        return replace(self, keys=(self.current, *keys), waiting=None if is_gone else self.waiting)


_guard = threading.Lock()
_known: tuple[Source, Ring] | None = None


def ring() -> Ring:
    """Return the ring, read anew when its file has changed; raise `MasterKeyError`."""
    global _known
    source = _source()
    with _guard:
        if _known is None or _known[0] != source:
            _known = source, _read(source)
        return _known[1]


def find(key_id: str) -> MasterKey:
    """Return the key with this id; raise `UnknownKeyError`."""
    # A shared file may look unchanged for a while after another machine rotated it.
    key = ring().find(key_id) or _read(_source()).find(key_id)
    if key is None:
        raise UnknownKeyError(key_id)
    return key


def ring_file() -> Path | None:
    """Return the file that holds the ring, None where the environment holds it.

    Raise `MasterKeyError` when both are set.
    """
    path: Path | None = settings.COMPLIANCE_MASTER_KEY_FILE
    if path and settings.COMPLIANCE_MASTER_KEY:
        raise MasterKeyError("Set COMPLIANCE_MASTER_KEY or COMPLIANCE_MASTER_KEY_FILE, not both.")
    return path


def _source() -> Source:
    path = ring_file()
    if path is None:
        return settings.COMPLIANCE_MASTER_KEY, ()
    try:
        state = path.stat()
    except OSError as exc:
        raise MasterKeyError(f"COMPLIANCE_MASTER_KEY_FILE: {exc.strerror}: {path}") from exc
    return path, (state.st_mtime_ns, state.st_ino, state.st_size)


def _read(source: Source) -> Ring:
    """Parse what is there; the error names the variable that is wrong."""
    place, _ = source
    if isinstance(place, str):
        variable, text = "COMPLIANCE_MASTER_KEY", place
        if not text:
            raise MasterKeyError("COMPLIANCE_MASTER_KEY is not set.")
    else:
        variable, text = "COMPLIANCE_MASTER_KEY_FILE", _file_text(place)
    try:
        return Ring.of(text)
    except MasterKeyError as exc:
        raise MasterKeyError(f"{variable}: {exc}") from None


def _file_text(path: Path) -> str:
    """Return what a file of keys holds; raise `MasterKeyError`."""
    try:
        # What is not ASCII is no key: `_parsed` says so, where a decoder's error holds the text.
        return path.read_text("ascii", errors="replace")
    except OSError as exc:
        raise MasterKeyError(f"COMPLIANCE_MASTER_KEY_FILE: {exc.strerror}: {path}") from exc


def _parsed(word: str) -> MasterKey:
    try:
        if len(word) == 2 * KEY_BYTES:
            key = bytes.fromhex(word)
        else:
            key = base64.b64decode(word, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise MasterKeyError(f"A key is not base64 or hex of {KEY_BYTES} bytes.")
    return MasterKey(key)

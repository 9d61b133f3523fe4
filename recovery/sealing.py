"""Backups are sealed in the age format (age-encryption.org/v1), which the `age` command opens.

Each is encrypted for the console's own key and for every one in BACKUP_RECIPIENTS, of which one
should be kept apart from the console: any of them opens it.
"""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, Protocol

import pyrage
from django.conf import settings
from pyrage.x25519 import Identity, Recipient

from recovery.exceptions import ConfigurationError, DamagedError, RecoveryError, SealError

MAKE_A_KEY = "make one with `age-keygen`"
BUFFER = 1 << 20


class Writer(Protocol):
    def write(self, data: bytes, /) -> int: ...


def identity() -> Identity:
    """Return the key by which the console opens backups; raise `ConfigurationError`."""
    if not settings.BACKUP_IDENTITY:
        raise ConfigurationError(
            "BACKUP_IDENTITY is empty: the console needs an age key of its own to check and "
            f"restore backups; {MAKE_A_KEY} and set BACKUP_IDENTITY to its line AGE-SECRET-KEY-1..."
        )
    try:
        return Identity.from_str(settings.BACKUP_IDENTITY.strip())
    except pyrage.IdentityError:
        raise ConfigurationError(
            f"BACKUP_IDENTITY is no age key (AGE-SECRET-KEY-1...); {MAKE_A_KEY}."
        ) from None


def recipients() -> tuple[str, ...]:
    """Return the public keys that new backups are for, the console's own first.

    Raise `ConfigurationError` naming the setting when there is none, or one is no age key.
    """
    own = (str(identity().to_public()),) if settings.BACKUP_IDENTITY else ()
    others = tuple(entry.strip() for entry in settings.BACKUP_RECIPIENTS)
    for place, entry in enumerate(others, 1):
        _recipient(entry, place)
    if not (own or others):
        raise ConfigurationError(
            "Backups cannot be encrypted: BACKUP_IDENTITY and BACKUP_RECIPIENTS are both empty; "
            f"{MAKE_A_KEY}."
        )
    return tuple(dict.fromkeys(own + others))


def seal(source: BinaryIO, target: Writer) -> None:
    """Encrypt what `source` gives into `target`, in constant memory."""
    keys = [Recipient.from_str(key) for key in recipients()]
    watched, written = _Reader(source), _Writer(target)
    try:
        pyrage.encrypt_io(watched, written, keys)
    except (pyrage.EncryptError, OSError):
        # The library tells an error of ours by its text only.
        raise watched.error or written.error or SealError("Encryption failed.") from None


@contextmanager
def open_sealed(source: BinaryIO) -> Iterator[BinaryIO]:
    """Lend what `source` holds decrypted, as it is read, in constant memory.

    Reading raises `SealError` when the console's key does not open it, `DamagedError` when it was
    cut off or changed: at the latest at the end, so what was read counts only then. Errors of
    `source` come through as they are.
    """
    opener = _Opener(source, identity())
    try:
        with io.FileIO(opener.reading_end) as pipe:
            yield io.BufferedReader(_Opened(pipe, opener), BUFFER)
    finally:
        opener.join()


class _Opener(threading.Thread):
    """Decrypts into a pipe; `failure` holds what went wrong once it has ended."""

    def __init__(self, source: BinaryIO, key: Identity) -> None:
        super().__init__(name="opens a sealed backup", daemon=True)
        self.reading_end, self._writing_end = os.pipe()
        self._source = _Reader(source)
        self._key = key
        self.failure: BaseException | None = None
        self.start()

    def run(self) -> None:
        with os.fdopen(self._writing_end, "wb", buffering=BUFFER) as raw:
            target = _Writer(raw)
            try:
                pyrage.decrypt_io(self._source, target, [self._key])
                raw.flush()
            except (pyrage.DecryptError, OSError, RecoveryError) as exc:
                self.failure = self._source.error or _opening_failure(exc)
                _close_quietly(raw)


class _Opened(io.RawIOBase):
    """The reading end: a failure of the other end is raised where the end would be."""

    def __init__(self, pipe: io.FileIO, opener: _Opener) -> None:
        self._pipe = pipe
        self._opener = opener

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = self._pipe.readinto(buffer) or 0
        if not count:
            self._opener.join()
            if self._opener.failure:
                raise self._opener.failure
        return count


class _Reader:
    """Keeps the error of the stream it reads, of which the library hands on only the text."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self.error: BaseException | None = None

    def read(self, size: int = -1) -> bytes:
        try:
            return self._source.read(size)
        except BaseException as exc:
            self.error = exc
            raise


class _Writer:
    def __init__(self, target: Writer) -> None:
        self._target = target
        self.error: BaseException | None = None

    def write(self, data: bytes) -> int:
        try:
            return self._target.write(data)
        except BaseException as exc:
            self.error = exc
            raise

    def flush(self) -> None:
        """Nothing waits here: whoever made the target flushes it."""


def _recipient(entry: str, place: int) -> None:
    try:
        Recipient.from_str(entry)
    except pyrage.RecipientError:
        raise ConfigurationError(
            f"BACKUP_RECIPIENTS: entry {place} is no public age key (age1...); {MAKE_A_KEY}, which "
            "prints the public key too."
        ) from None


def _opening_failure(exc: Exception) -> SealError | DamagedError:
    if "No matching keys" in str(exc):
        return SealError(
            "The backup is not encrypted for the key in BACKUP_IDENTITY: set it to one of those "
            "that the manifest names as recipients."
        )
    return DamagedError("The sealed file is damaged: it was cut off or changed.")


def _close_quietly(raw: BinaryIO) -> None:
    try:
        raw.close()
    except OSError:
        # Whoever read has gone.
        return

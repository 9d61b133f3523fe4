"""Change the file of the master keys; running processes read it anew at their next use.

The file must be the one that all processes read: one machine, or a shared volume.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePath

from compliance_site.foundation import master_key, private_files
from compliance_site.foundation.master_key import MasterKey, MasterKeyError, Ring, UnknownKeyError


class NoRingFileError(MasterKeyError):
    """The master key is in the environment, which the console cannot change."""


def path() -> Path:
    """Return the file itself where the variable names a link; raise `NoRingFileError`."""
    named = master_key.ring_file()
    if named is None:
        raise NoRingFileError(NoRingFileError.__doc__)
    return named.resolve()


def put_first(key: MasterKey) -> Ring:
    """Let a new key encrypt from now on; raise `MasterKeyError`."""
    return _edit(lambda ring: ring.with_first(key))


def waiting_key() -> MasterKey:
    """Return the key that waits to become the first, made when none does.

    Asked again after a crash it is the same one. Raise `MasterKeyError`.
    """
    made = MasterKey.new()
    ring = _edit(lambda ring: ring if ring.waiting else Ring(ring.keys, waiting=made))
    return ring.waiting or made


def promote(key_id: str) -> Ring:
    """Put a key of the ring first; raise `UnknownKeyError` or `MasterKeyError`."""

    def promoted(ring: Ring) -> Ring:
        key = ring.find(key_id)
        if key is None:
            raise UnknownKeyError(key_id)
        return ring.with_first(key)

    return _edit(promoted)


def remove(key_ids: set[str]) -> Ring:
    """Take keys out, the current one excepted; raise `MasterKeyError`."""
    return _edit(lambda ring: ring.without(key_ids))


def withdraw_waiting(key_id: str) -> Ring:
    """Take out a key that never was the first; one that was stays."""
    return _edit(
        lambda ring: Ring(ring.keys) if ring.waiting and ring.waiting.id == key_id else ring
    )


def _edit(change: Callable[[Ring], Ring]) -> Ring:
    place = path()
    try:
        with private_files.locked(place.parent, PurePath(place.name)) as file:
            text = file.read()
            if text is None:
                raise MasterKeyError(f"COMPLIANCE_MASTER_KEY_FILE: there is no {place}.")
            before = Ring.of(text)
            after = change(before)
            if after != before:
                file.replace(after.text)
            return after
    except OSError as exc:
        raise MasterKeyError(f"{place} cannot be changed: {exc.strerror}.") from exc

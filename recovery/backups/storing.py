"""Puts a file into all stores at once, and reads each copy back before it counts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import BinaryIO

from recovery import sealing
from recovery.backups.progress import Progress, size_text
from recovery.exceptions import StoreError
from recovery.stores.base import Sink, Store

BUFFER = 1 << 20


@dataclass
class Copies:
    """Writes to every store that still can; `reasons` says for the others why not."""

    stores: Sequence[Store]
    progress: Progress
    reasons: dict[str, str] = field(default_factory=dict)
    size: int = 0
    _sinks: dict[str, Sink] = field(default_factory=dict)
    _digest: hashlib._Hash = field(default_factory=hashlib.sha256)
    _waiting: bytearray = field(default_factory=bytearray)

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    @property
    def good(self) -> list[Store]:
        return [store for store in self.stores if store.name not in self.reasons]

    def write(self, data: bytes) -> int:
        self._waiting += data
        if len(self._waiting) >= BUFFER:
            self._pass_on()
        return len(data)

    def commit(self) -> None:
        self._pass_on()
        for store in self.good:
            with self._noting(store):
                self._sinks[store.name].commit()

    def read_back(self, name: str) -> None:
        """Compare what each store gives back with what it was given."""
        self.progress.phase("Reading back", self.size * len(self.good))
        done = 0
        for store in self.good:
            with self._noting(store):
                digest = hashlib.sha256()
                with store.open(name) as stream:
                    while part := stream.read(BUFFER):
                        digest.update(part)
                        done += len(part)
                        self.progress.reached(done)
                if digest.hexdigest() != self.sha256:
                    raise StoreError(f"{store.name}: what was read back is not what was written.")

    def put(self, name: str, content: bytes) -> None:
        """Write a small file beside it into each store that has it."""
        for store in self.good:
            with self._noting(store), store.create(name) as sink:
                sink.write(content)
                sink.commit()

    def discard(self, *names: str) -> None:
        """Take back, in this order, what a store without the whole backup may have got of it."""
        for store in self.stores:
            if store.name in self.reasons:
                with suppress(StoreError):
                    for name in names:
                        store.delete(name)

    def open(self, name: str, total: int, stack: ExitStack) -> None:
        """Begin a file of about `total` bytes in each store."""
        for store in self.good:
            with self._noting(store):
                _check_space(store, total)
                self._sinks[store.name] = stack.enter_context(store.create(name))

    def _pass_on(self) -> None:
        data = bytes(self._waiting)
        self._waiting.clear()
        self._digest.update(data)
        self.size += len(data)
        self.progress.reached(self.size)
        for store in self.good:
            with self._noting(store):
                self._sinks[store.name].write(data)

    @contextmanager
    def _noting(self, store: Store) -> Iterator[None]:
        """Go on with the other stores when one fails; raise when none is left."""
        try:
            yield
        except StoreError as exc:
            self.reasons[store.name] = str(exc)
        self.require_good()

    def require_good(self) -> None:
        """Raise `StoreError` when no store is left."""
        if not self.good:
            raise StoreError("No place took the backup. " + " ".join(self.reasons.values()))


def sweep(stores: Sequence[Store], database: str, dead: Sequence[str]) -> None:
    """Remove what killed backups left: unfinished files, and those that have no manifest."""
    for store in stores:
        # One that does not answer says so again when it is written to.
        with suppress(StoreError):
            store.sweep(database)
            names = set(store.names(database))
            for backup_id in dead:
                stem = f"{database}/{backup_id}"
                if f"{stem}.tar.age" in names and f"{stem}.json" not in names:
                    store.delete(f"{stem}.tar.age")


def seal_into(
    stores: Sequence[Store],
    name: str,
    source: BinaryIO,
    total: int,
    progress: Progress,
    left_out: Mapping[str, str],
) -> Copies:
    """Encrypt `source` into a new file of each store; raise `StoreError` when none took it.

    `left_out` names stores that get nothing, and why.
    """
    copies = Copies(stores, progress, dict(left_out))
    copies.require_good()
    progress.phase("Encrypting and storing", total)
    with ExitStack() as stack:
        copies.open(name, total, stack)
        sealing.seal(source, copies)
        copies.commit()
    copies.read_back(name)
    return copies


def _check_space(store: Store, needed: int) -> None:
    free = store.free_bytes()
    if free is not None and free < needed:
        raise StoreError(
            f"{store.name} has {size_text(free)} free ({free} bytes); "
            f"the backup needs {size_text(needed)} ({needed} bytes)."
        )

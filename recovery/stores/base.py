"""What a place for backups can do.

Names are `<database>/<file>`; a file is there whole or not at all, and is never written twice.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import BinaryIO, Protocol


class Sink(Protocol):
    """Where the bytes of a new file go; nothing is there under its name before `commit`."""

    def write(self, data: bytes) -> int: ...

    def commit(self) -> None:
        """Make the file appear, durably and once; raise `StoreError`, also when it exists."""
        ...


class Store(ABC):
    """One place. Every method raises `StoreError`, whose text names the place and no credential."""

    # As the setting spells it, without credentials: "/backups", "s3://bucket/prefix".
    name: str

    @abstractmethod
    def create(self, name: str) -> AbstractContextManager[Sink]:
        """Begin a file. Leaving the context without `commit` leaves nothing behind."""

    @abstractmethod
    def open(self, name: str) -> AbstractContextManager[BinaryIO]:
        """Read a file from its beginning."""

    @abstractmethod
    def names(self, database: str) -> Iterator[str]:
        """Return the names of the complete files of a database."""

    @abstractmethod
    def size(self, name: str) -> int:
        """Return a file's size in bytes."""

    @abstractmethod
    def delete(self, name: str) -> None:
        """Remove a file; one that is not there is no error."""

    @abstractmethod
    def free_bytes(self) -> int | None:
        """Return how much fits; None where nobody knows."""

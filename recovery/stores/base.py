"""What a place for backups can do.

Names are `<database>/<file>`; a file is there whole or not at all, and is never written twice
unless it says so.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import BinaryIO, Protocol

from recovery.exceptions import StoreError

# One folder and one file: no path can leave its store, and nothing hidden is a backup.
FILE_NAME = re.compile(r"([a-z0-9][a-z0-9_-]{0,39})/([A-Za-z0-9][A-Za-z0-9._-]{0,119})")


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
    def create(self, name: str, *, replace: bool = False) -> AbstractContextManager[Sink]:
        """Begin a file. Leaving the context without `commit` leaves nothing behind.

        With `replace`, for the small facts beside a backup, `commit` takes the place of a file
        of this name at once.
        """

    @abstractmethod
    def open(self, name: str) -> AbstractContextManager[BinaryIO]:
        """Read a file from its beginning."""

    @abstractmethod
    def names(self, database: str) -> Iterator[str]:
        """Return the names of the complete files of a database, `<database>/<file>`."""

    @abstractmethod
    def size(self, name: str) -> int:
        """Return a file's size in bytes."""

    @abstractmethod
    def delete(self, name: str) -> None:
        """Remove a file; one that is not there is no error."""

    @abstractmethod
    def is_there(self) -> bool:
        """Tell whether the place exists; a folder may be a disk that is not mounted."""

    @abstractmethod
    def free_bytes(self) -> int | None:
        """Return how much fits; None where nobody knows."""

    @abstractmethod
    def sweep(self, database: str) -> None:
        """Remove what interrupted writers left of a database; nothing that has a name."""


def split(name: str) -> tuple[str, str]:
    """Return the database and the file in a name; raise `StoreError` for anything else."""
    found = FILE_NAME.fullmatch(name)
    if not found:
        raise StoreError("This is no name of a file of a backup: it must read database/file.")
    return found[1], found[2]

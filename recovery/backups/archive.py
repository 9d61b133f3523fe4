"""The tar inside a sealed backup, made as it is read: nothing is written twice."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

BUFFER = 1 << 20
PADDING = tarfile.BLOCKSIZE


def stream(folder: Path) -> BinaryIO:
    """Return the folder's files as a tar (POSIX.1-2001), the smaller ones of its root first."""
    return io.BufferedReader(_Pieces(_pieces(folder)), BUFFER)


def size(folder: Path) -> int:
    """Return how long that tar is, to within its headers."""
    return sum(path.stat().st_size + 2 * PADDING for path in _files(folder))


class _Pieces(io.RawIOBase):
    """What an iterator gives, as a file."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = memoryview(piece)
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


def _pieces(folder: Path) -> Iterator[bytes]:
    for path in _files(folder):
        with open(path, "rb") as file:
            member = tarfile.TarInfo(str(path.relative_to(folder)))
            status = os.fstat(file.fileno())
            member.size, member.mtime, member.mode = status.st_size, int(status.st_mtime), 0o600
            yield member.tobuf(tarfile.PAX_FORMAT)
            while part := file.read(BUFFER):
                yield part
            yield bytes(-member.size % PADDING)
    yield bytes(2 * PADDING)


def _files(folder: Path) -> list[Path]:
    """Return the regular files: what says how to restore comes before what is restored."""
    found = [path for path in folder.rglob("*") if path.is_file()]
    return sorted(found, key=lambda path: (len(path.relative_to(folder).parts), path))

"""Positions in the write-ahead log, the names of its segments, and where the log in a file ends.

A position (LSN) is the number of bytes written before it; a file holds one segment of them.
"""

from __future__ import annotations

import os
import re
import struct
from bisect import bisect_left
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

PAGE = 8192
SEGMENT_NAME = re.compile(r"[0-9A-F]{24}")
HISTORY_NAME = re.compile(r"([0-9A-F]{8})\.history")
POSITION = re.compile(r"([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})")
LARGEST_HISTORY = 1_000_000

# XLogPageHeaderData: magic, info, timeline, address, length of a record's rest; in a file's
# first page followed by the system identifier and the segment's size.
SHORT = struct.Struct("=HHIQI")
LONG = struct.Struct("=HHIQI4xQI")
SHORT_BYTES, LONG_BYTES = 24, 40
CONTINUES_RECORD, IS_LONG = 0x0001, 0x0002


def parse_lsn(text: str) -> int:
    """Parse `0/3000148`; raise `ValueError`."""
    found = POSITION.fullmatch(text)
    if not found:
        raise ValueError("a position in the log looks like 0/3000148")
    return int(found[1], 16) << 32 | int(found[2], 16)


def lsn_text(position: int) -> str:
    return f"{position >> 32:X}/{position & 0xFFFFFFFF:X}"


@dataclass(frozen=True, order=True)
class Segment:
    """One file's worth of log: `number` counts from the beginning of the log."""

    timeline: int
    number: int

    @classmethod
    def parse(cls, name: str, size: int) -> Segment:
        """Parse a file's name, which `SEGMENT_NAME` matches."""
        high, low = int(name[8:16], 16), int(name[16:], 16)
        return cls(int(name[:8], 16), high * (0x1_0000_0000 // size) + low)

    def name(self, size: int) -> str:
        high, low = divmod(self.number, 0x1_0000_0000 // size)
        return f"{self.timeline:08X}{high:08X}{low:08X}"


@dataclass(frozen=True)
class FirstPage:
    """What the head of a segment's file says of it."""

    address: int
    system_identifier: str


def first_page(file: Path) -> FirstPage | None:
    """Read the head of a segment's file; None when there is none, as in one not begun yet."""
    with open(file, "rb") as opened:
        head = opened.read(LONG.size)
    if len(head) < LONG.size:
        return None
    magic, info, _, address, _, system, _ = LONG.unpack(head)
    return FirstPage(address, str(system)) if magic and info & IS_LONG else None


def end_of_log(file: Path, segment: Segment, size: int) -> int:
    """Return the position up to which the file of a segment that is being written holds log.

    Such a file is filled with zeros beyond. PostgreSQL flushes, and so sends, up to the end of
    a record or of a page: a record that runs over the last page there is has all of that page.
    """
    start = segment.number * size
    with open(file, "rb") as opened:
        pages = range(min(os.fstat(opened.fileno()).st_size, size) // PAGE)
        begun = bisect_left(pages, 1, key=lambda page: not _is_begun(opened, page, start))
        if not begun:
            return start
        opened.seek((begun - 1) * PAGE)
        return start + (begun - 1) * PAGE + _end_in_page(opened.read(PAGE))


def parse_history(text: str) -> tuple[tuple[int, int], ...]:
    """Parse a timeline's history file into its ancestors, each with where it was left.

    Raise `ValueError`.
    """
    ancestors = []
    for line in text.splitlines():
        if (words := line.split("#")[0].split()) and len(words) >= 2:
            ancestors.append((int(words[0]), parse_lsn(words[1])))
    return tuple(ancestors)


def _is_begun(opened: BinaryIO, page: int, start: int) -> bool:
    opened.seek(page * PAGE)
    magic, _, _, address, _ = SHORT.unpack(opened.read(SHORT.size))
    return bool(magic) and address == start + page * PAGE


def _end_in_page(page: bytes) -> int:
    """Walk over the records that begin in a page: each starts with its length, at 8 bytes."""
    _, info, _, _, rest = SHORT.unpack_from(page)
    offset = LONG_BYTES if info & IS_LONG else SHORT_BYTES
    if info & CONTINUES_RECORD:
        offset += _aligned(rest)
    while offset < PAGE:
        length = int.from_bytes(page[offset : offset + 4], "little")
        if not length:
            return offset
        offset += _aligned(length)
    return PAGE


def _aligned(length: int) -> int:
    return (length + 7) & ~7

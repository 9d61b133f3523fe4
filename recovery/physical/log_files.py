"""The log as its files show it: which there are, in which order they follow, what is missing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from recovery.physical.wal import Segment


@dataclass(frozen=True)
class Gap:
    """Segments in a row that are not there, or not as they were written."""

    first: str
    last: str
    reason: str
    # Positions: the log ends at the one and goes on at the other.
    begin: int
    end: int

    def __str__(self) -> str:
        named = self.first if self.first == self.last else f"{self.first} to {self.last}"
        return f"{named}: {self.reason}"


@dataclass(frozen=True)
class Contents:
    """The files of the log, as they are named and as they begin."""

    size: int
    # Whole segments; the text says what is wrong with one.
    whole: Mapping[Segment, str]
    unfinished: frozenset[Segment]
    ancestors: Mapping[int, tuple[tuple[int, int], ...]]

    @cached_property
    def segments(self) -> list[Segment]:
        return sorted({*self.whole, *self.unfinished})

    def line(self) -> Line | None:
        """Return the way that the newest timeline took; None when there is no log."""
        if not self.segments:
            return None
        newest = self.segments[-1]
        own = [each.number for each in self.segments if each.timeline == newest.timeline]
        parents = self.ancestors.get(newest.timeline, ())
        # Without its history file a younger timeline cannot be followed back.
        known = newest.timeline == 1 or bool(parents)
        ends = tuple((timeline, position // self.size) for timeline, position in parents)
        return Line(newest.timeline, ends, newest.number, known, min(own))


@dataclass(frozen=True)
class Line:
    """A timeline with its ancestors: each owns the segments before the one where it was left."""

    timeline: int
    ends: tuple[tuple[int, int], ...]
    last: int
    is_known: bool
    first_own: int

    def owner(self, number: int) -> Segment:
        for timeline, end in self.ends:
            if number < end:
                return Segment(timeline, number)
        return Segment(self.timeline, number)

    def includes(self, timeline: int) -> bool:
        return timeline == self.timeline or timeline in dict(self.ends)


@dataclass(frozen=True)
class Survey:
    """What is between a position and the end of the archive."""

    line: Line
    end: int
    gaps: tuple[Gap, ...]

    def reach(self, position: int) -> int:
        """Return how far the log goes on from a position without a gap."""
        ahead = [gap.begin for gap in self.gaps if gap.end > position]
        return min([self.end, *ahead])


def find_gaps(contents: Contents, line: Line, first: int) -> Iterator[Gap]:
    if not line.is_known:
        reason = f"{line.timeline:08X}.history, which tells where the timeline began, is missing"
        own = Segment(line.timeline, line.first_own)
        begin = line.first_own * contents.size
        yield Gap(own.name(contents.size), own.name(contents.size), reason, begin, begin + 1)
    rows: list[tuple[str, list[int]]] = []
    for number in range(first, line.last):
        reason = contents.whole.get(line.owner(number), "missing")
        if not reason:
            continue
        if rows and rows[-1][0] == reason and rows[-1][1][-1] == number - 1:
            rows[-1][1].append(number)
        else:
            rows.append((reason, [number]))
    last = Segment(line.timeline, line.last)
    if reason := contents.whole.get(last, ""):
        rows.append((reason, [line.last]))
    yield from (_gap(reason, numbers, contents, line) for reason, numbers in rows)


def _gap(reason: str, numbers: Sequence[int], contents: Contents, line: Line) -> Gap:
    first, last = (line.owner(number).name(contents.size) for number in (numbers[0], numbers[-1]))
    begin, end = numbers[0] * contents.size, (numbers[-1] + 1) * contents.size
    return Gap(first, last, reason, begin, end)

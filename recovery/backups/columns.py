"""Lists for terminals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def columns(*rows: Sequence[str], right: Iterable[int] = ()) -> list[str]:
    """Return rows, of which the first is the header, as lines whose columns line up.

    The columns in `right`, by their number, end together, the others begin together.
    """
    to_the_right = set(right)
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.rjust(width) if number in to_the_right else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return [line.rstrip() for line in lines]

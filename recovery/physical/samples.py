"""Where the server's log ended at a time, noted every few seconds: the way from log to time.

If the log up to where it ended at 12:00:00 is in the archive, nothing that was committed by
then is missing. That holds for an idle server too, whose last commit may be hours old.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from recovery.databases import Database
from recovery.exceptions import ServerAwayError
from recovery.physical.accounts import Account
from recovery.physical.server import observe
from recovery.physical.wal import lsn_text, parse_lsn

DAY = "%Y%m%d"
LARGEST_DAY = 20_000_000


@dataclass(frozen=True)
class Sample:
    """All that was committed at `at` (the server's clock) is before `position`."""

    at: datetime
    position: int


def append(folder: Path, sample: Sample, account: Account) -> None:
    file = folder / sample.at.astimezone(UTC).strftime(DAY)
    made = not file.exists()
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    with open(descriptor, "a", encoding="ascii") as opened:
        opened.write(f"{sample.at.astimezone(UTC).isoformat()} {lsn_text(sample.position)}\n")
    if made:
        account.own(file)


def take(folder: Path, database: Database, account: Account) -> Sample | None:
    """Note where the server's log ends now; None while it does not answer."""
    try:
        seen = observe(database)
    except ServerAwayError:
        return None
    sample = Sample(seen.at, seen.position)
    append(folder, sample, account)
    return sample


def newest_within(folder: Path, position: int) -> Sample | None:
    """Return the newest moment of which everything is before a position."""
    return next((each for each in newest_first(folder) if each.position <= position), None)


def last_before(folder: Path, at: datetime) -> Sample | None:
    return next((each for each in newest_first(folder) if each.at < at), None)


def newest_first(folder: Path) -> Iterator[Sample]:
    for file in sorted(_days(folder), reverse=True):
        yield from reversed(_read(file))


def forget_before(folder: Path, day: date) -> None:
    for file in _days(folder):
        if file.name < day.strftime(DAY):
            file.unlink(missing_ok=True)


def _days(folder: Path) -> list[Path]:
    return [file for file in folder.glob("[0-9]" * 8) if file.is_file()]


def _read(file: Path) -> list[Sample]:
    """Read a day; a line that was cut off by a crash is not one."""
    samples = []
    with open(file, encoding="ascii", errors="replace") as opened:
        for line in opened.read(LARGEST_DAY).splitlines():
            at, _, position = line.partition(" ")
            try:
                samples.append(Sample(datetime.fromisoformat(at), parse_lsn(position)))
            except ValueError:
                continue
    return samples

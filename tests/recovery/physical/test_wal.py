import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recovery import physical
from recovery.physical import samples
from recovery.physical.accounts import Account
from recovery.physical.samples import Sample
from recovery.physical.wal import (
    PAGE,
    SHORT,
    Segment,
    end_of_log,
    lsn_text,
    parse_history,
    parse_lsn,
)

SIZE = 16 * 1024 * 1024
FETCH = Path(physical.__file__).with_name("fetch_wal.sh")
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


@given(st.integers(0, 2**64 - 1))
def test_a_position_is_read_as_it_is_written(position):
    assert parse_lsn(lsn_text(position)) == position


@given(st.integers(1, 2**32 - 1), st.integers(0, 2**40 - 1))
def test_a_segment_has_the_name_that_postgresql_gives_it(timeline, number):
    segment = Segment(timeline, number)

    assert Segment.parse(segment.name(SIZE), SIZE) == segment
    assert Segment(1, 0x1_0000_0000 // SIZE).name(SIZE) == "000000010000000100000000"


@pytest.mark.parametrize("text", ["", "0", "0/", "/0", "0/G", "0/123456789", "0/1/2", "-1/0"])
def test_what_is_no_position_is_refused(text):
    with pytest.raises(ValueError, match="looks like 0/3000148"):
        parse_lsn(text)


def page(number, *records, rest=0):
    """A page of segment 3 with records of these lengths."""
    head = SHORT.pack(0xD118, 1 if rest else 0, 1, 3 * SIZE + number * PAGE, rest)
    body = b"\0" * (-(-rest // 8) * 8)
    for length in records:
        body += (length.to_bytes(4, "little") + b"x" * (length - 4)).ljust(-(-length // 8) * 8)
    return (head.ljust(24, b"\0") + body)[:PAGE].ljust(PAGE, b"\0")


@pytest.mark.parametrize(
    ("pages", "end"),
    [
        ([], 0),
        ([page(0, 100, 50)], 24 + 104 + 56),
        # It runs over the page, which therefore is all there.
        ([page(0, 9000)], PAGE),
        ([page(0, 9000), page(1, 40, rest=900)], PAGE + 24 + 904 + 40),
        ([page(0, 9000), page(1, rest=9000)], 2 * PAGE),
    ],
)
def test_the_end_of_the_log_is_found_among_zeros(tmp_path, pages, end):
    file = tmp_path / "segment"
    file.write_bytes(b"".join(pages).ljust(SIZE, b"\0"))

    assert end_of_log(file, Segment(1, 3), SIZE) == 3 * SIZE + end


def test_a_history_names_ancestors_and_where_they_were_left():
    text = "1\t0/3000148\tno recovery target specified\n\n2\t0/5000000\tbefore 2026-11-23\n"

    assert parse_history(text) == ((1, 0x3000148), (2, 0x5000000))
    with pytest.raises(ValueError, match="looks like"):
        parse_history("1\tnonsense\n")


def test_samples_lead_from_a_position_to_a_time_and_back(tmp_path):
    for minute, position in ((0, 100), (1, 100), (2, 200)):
        taken = Sample(NOON + timedelta(minutes=minute), position)
        samples.append(tmp_path, taken, Account())
    with open(tmp_path / "20261123", "a") as file:
        file.write("2026-11-23T12:0")

    assert samples.newest_within(tmp_path, 150) == Sample(NOON + timedelta(minutes=1), 100)
    assert samples.newest_within(tmp_path, 99) is None
    assert samples.last_before(tmp_path, NOON + timedelta(minutes=2)).position == 100
    samples.forget_before(tmp_path, NOON.date() + timedelta(days=1))
    assert samples.newest_within(tmp_path, 1000) is None


@pytest.fixture
def fetch(tmp_path):
    """Run the restore_command for a name; segments are 8 bytes here, and end before 5."""
    (tmp_path / "archive.json").touch()
    wal, frozen = tmp_path / "wal", tmp_path / "frozen"
    wal.mkdir()
    frozen.mkdir()
    (wal / "000000010000000000000002").write_bytes(b"whole..2")
    (wal / "000000010000000000000003").write_bytes(b"short")
    (wal / "00000002.history").write_text("1\t0/1\n")
    (frozen / "000000010000000000000004").write_bytes(b"frozen.4")

    def run(name, archive=wal):
        destination = tmp_path / "fetched"
        command = ["/bin/sh", FETCH, archive, frozen, "0000000000000005", "8", name, destination]
        code = subprocess.run(command, capture_output=True, check=False).returncode
        return code, destination.read_bytes() if code == 0 else None

    return run


def test_only_what_lies_behind_the_planned_end_is_the_end_of_the_log(fetch, tmp_path):
    assert fetch("000000010000000000000002") == (0, b"whole..2")
    assert fetch("000000010000000000000004") == (0, b"frozen.4")
    assert fetch("00000002.history") == (0, b"1\t0/1\n")
    assert fetch("00000003.history") == (1, None)
    assert fetch("000000010000000000000005") == (1, None)
    assert fetch("0000000200000001000000AB") == (1, None)
    # Missing, short, and an archive that is gone: PostgreSQL has to give up.
    assert fetch("000000010000000000000001") == (200, None)
    assert fetch("000000010000000000000003") == (200, None)
    assert fetch("000000010000000000000002", tmp_path / "gone" / "wal") == (200, None)

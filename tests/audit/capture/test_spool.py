import json
import os
import tempfile
from pathlib import Path

import pytest

from audit.capture.spool import Spool

NOBODY = 65534


@pytest.fixture
def spool_path(tmp_path):
    return tmp_path / "new" / "folder" / "spool.jsonl"


@pytest.fixture
def make_spool(spool_path):
    made = []

    def make(max_bytes=1_000_000):
        made.append(Spool(spool_path, max_bytes))
        return made[-1]

    yield make
    for spool in made:
        spool.close()


def event_lines(*numbers):
    return [json.dumps({"id": number}).encode() for number in numbers]


def all_lines(spool):
    return spool.oldest(10_000, 10_000_000).lines


def test_lines_come_out_first_in_first_out_and_stay_until_dropped(make_spool):
    spool = make_spool()
    spool.append(event_lines(1, 2))
    spool.append(event_lines(3))

    first = spool.oldest(2, 1000)
    assert first.lines == event_lines(1, 2)
    assert spool.oldest(2, 1000) == first
    spool.drop(first)

    assert all_lines(spool) == event_lines(3)
    assert not spool.is_empty()
    spool.drop(spool.oldest(2, 1000))
    assert spool.is_empty()


def test_a_batch_is_bounded_by_bytes_and_ends_at_a_line(make_spool):
    spool = make_spool()
    spool.append(event_lines(1, 2, 3))

    assert spool.oldest(10, 45).lines == event_lines(1, 2)


def test_lines_survive_reopening(make_spool):
    spool = make_spool()
    spool.append(event_lines(1, 2))
    spool.close()

    assert all_lines(make_spool()) == event_lines(1, 2)


def test_the_spool_takes_what_fits_and_says_how_much(make_spool):
    spool = make_spool(max_bytes=60)

    assert spool.append(event_lines(1, 2, 3, 4)) == 3
    assert spool.append(event_lines(4)) == 0
    spool.drop(spool.oldest(1, 1000))
    assert spool.append(event_lines(4, 5)) == 1
    assert all_lines(spool) == event_lines(2, 3, 4)


def test_the_file_stays_small_when_it_is_never_empty(make_spool, spool_path):
    spool = make_spool(max_bytes=200)
    spool.append(event_lines(10, 11))
    sizes = []
    for number in range(12, 99):
        assert spool.append(event_lines(number)) == 1
        spool.drop(spool.oldest(1, 1000))
        sizes.append(spool_path.stat().st_size)

    assert max(sizes) <= 400
    assert all_lines(spool) == event_lines(97, 98)


@pytest.mark.parametrize("torn", [b'{"id"', b"x" * 200_000])
def test_an_unfinished_last_line_is_dropped_with_a_warning(make_spool, spool_path, caplog, torn):
    killed = make_spool()
    killed.append(event_lines(1, 2))
    killed.close()
    with spool_path.open("ab") as file:
        file.write(torn)

    spool = make_spool()
    spool.append(event_lines(3))

    assert all_lines(spool) == event_lines(1, 2, 3)
    assert "unfinished line" in caplog.text


def test_unreadable_lines_are_skipped_with_a_warning(make_spool, spool_path, caplog):
    rotten = make_spool()
    rotten.append(event_lines(1, 2, 3))
    rotten.close()
    content = bytearray(spool_path.read_bytes())
    content[content.index(b'"id": 1') + 6] ^= 1
    spool_path.write_bytes(b"\x00\x00\n\n" + content)
    spool = make_spool()

    batch = spool.oldest(10, 100_000)
    spool.drop(batch)

    assert batch.lines == event_lines(2, 3)
    assert spool.is_empty()
    assert "Skipped 3 unreadable" in caplog.text


def test_each_process_gets_a_file_of_its_own_and_inherits_the_files_of_dead_ones(
    make_spool, spool_path
):
    first, second = make_spool(), make_spool()
    first.append(event_lines(1))
    second.append(event_lines(2))
    assert (first.path.name, second.path.name) == ("spool.jsonl", "spool.jsonl.1")

    first.close()
    second.close()
    heir = make_spool()

    assert all_lines(heir) == event_lines(1, 2)
    assert not second.path.with_name("spool.jsonl.1").exists()


def test_a_living_process_keeps_its_file(make_spool):
    first, second = make_spool(), make_spool()
    first.append(event_lines(1))
    second.append(event_lines(2))
    first.close()

    third = make_spool()

    assert all_lines(third) == event_lines(1)
    assert all_lines(second) == event_lines(2)


def test_a_link_in_place_of_the_spool_is_refused(make_spool, spool_path, tmp_path):
    spool_path.parent.mkdir(parents=True)
    spool_path.symlink_to(tmp_path / "elsewhere")

    with pytest.raises(OSError, match="symbolic links"):
        make_spool().append(event_lines(1))
    # Nothing stays locked.
    spool_path.unlink()
    assert make_spool().append(event_lines(1)) == 1


def test_a_file_that_cannot_be_taken_over_keeps_nobody_from_the_own_one(
    make_spool, spool_path, caplog
):
    spool_path.with_name("spool.jsonl.1").mkdir(parents=True)
    open_files = len(os.listdir("/proc/self/fd"))
    spool = make_spool()

    assert spool.append(event_lines(1)) == 1
    spool.close()

    assert "spool.jsonl.1 cannot be taken over" in caplog.text
    assert len(os.listdir("/proc/self/fd")) == open_files


@pytest.mark.root_only
def test_files_of_another_user_keep_nobody_from_one_of_their_own():
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        of_root = Spool(folder / "spool")
        of_root.append(event_lines(1))
        of_root.close()
        os.seteuid(NOBODY)
        try:
            spool = Spool(folder / "spool")
            assert spool.append(event_lines(2)) == 1
            spool.close()
        finally:
            os.seteuid(0)

        assert (folder / "spool.1").stat().st_uid == NOBODY

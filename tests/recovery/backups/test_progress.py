import io

import pytest

from recovery.backups import progress as module
from recovery.backups.progress import Progress, size_text, time_text


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def test_a_terminal_has_one_line_with_bytes_and_time_left(clock):
    terminal = Terminal()
    progress = Progress(terminal)

    progress.phase("Dumping orders", 100 << 20)
    clock[0] += 10
    progress.reached(25 << 20)
    progress.done()

    assert "Dumping orders: 25.0 MiB of about 100.0 MiB, 30 s left" in terminal.getvalue()
    assert "\n" not in terminal.getvalue()
    assert terminal.getvalue().endswith("\r\033[K")


def test_elsewhere_it_is_a_plain_line_now_and_then(clock):
    stream = io.StringIO()
    progress = Progress(stream)

    progress.phase("Dumping orders")
    for _ in range(100):
        clock[0] += 1
        progress.reached(1024)

    assert (
        stream.getvalue().splitlines() == ["Dumping orders ..."] + ["Dumping orders: 1.0 KiB"] * 3
    )


def test_nobody_listening_is_no_trouble():
    progress = Progress()

    progress.phase("Dumping")
    progress.reached(1)
    progress.say("x")
    progress.done()


def test_sizes_and_times_are_as_people_read_them():
    assert [size_text(each) for each in (0, 1023, 1536, 5 << 40)] == [
        "0 B",
        "1023 B",
        "1.5 KiB",
        "5.0 TiB",
    ]
    assert [time_text(each) for each in (9, 61, 7300)] == ["9 s", "1 min 01 s", "2 h 01 min"]

import json
import os
import re
import signal
import subprocess
import sys
import time

import psutil
import pytest

from compliance_site.foundation.supervisor import ConsoleLockedError, only_console

SUPERVISE = """
import json, pathlib, sys
from compliance_site.foundation.supervisor import ConsoleLockedError, Pace, Program, Supervisor, only_console
var, pace, programs = pathlib.Path(sys.argv[1]), json.loads(sys.argv[2]), json.loads(sys.argv[3])
try:
    with only_console(var, patience=5) as inherited:
        programs = [Program(name, (sys.executable, "-u", "-c", code)) for name, code in programs.items()]
        Supervisor(programs, pace=Pace(**pace), inherited=inherited).run(lambda: print("started", flush=True))
except ConsoleLockedError as exc:
    sys.exit(str(exc))
"""
SLEEP = "import os, time; print('up', os.getpid()); time.sleep(600)"
# Like a web server or a pool: a parent with a worker of its own.
# One write per line, or the lines of the two would mix.
FORK = r"import os, time; os.fork(); os.write(1, b'up %d\n' % os.getpid()); time.sleep(600)"
STUBBORN = "import signal, os, time; signal.signal(15, signal.SIG_IGN); print('up', os.getpid()); time.sleep(600)"
GRACEFUL = """
import os, signal, sys, time
def end(*_):
    print('finished its work')
    sys.exit(0)
signal.signal(15, end)
print('up', os.getpid())
time.sleep(600)
"""


class Console:
    """A supervisor in a process of its own, and the lines it has printed."""

    def __init__(self, var, programs, **pace):

        arguments = [var, json.dumps({"first_delay": 0.2, "grace": 5} | pace), json.dumps(programs)]
        self.process = subprocess.Popen(
            [sys.executable, "-c", SUPERVISE, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.lines = []

    def read_until(self, pattern, times=1):
        """Read lines until that many match; return the matches' last groups."""
        found = []
        while len(found) < times:
            line = self.process.stdout.readline()
            assert line, self.lines
            self.lines.append(line.rstrip("\n"))
            found += [match[match.lastindex or 0] for match in re.finditer(pattern, line)]
        return found

    def pids(self, times=1):
        return [int(pid) for pid in self.read_until(r"\| up (\d+)", times)]

    def end(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        self.lines += self.process.communicate(timeout=30)[0].splitlines()
        return self.process.returncode


@pytest.fixture
def console(tmp_path):
    consoles = []

    def console(programs, **pace):
        consoles.append(Console(tmp_path, programs, **pace))
        return consoles[-1]

    yield console
    for made in consoles:
        if made.process.poll() is None:
            made.end(signal.SIGKILL)
        made.process.stdout.close()


def is_alive(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def all_gone(pids, seconds=10.0):
    deadline = time.monotonic() + seconds
    while any(map(is_alive, pids)):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_lines_carry_the_name_of_their_program(console):
    running = console({"web": "print('hello'); " + SLEEP, "worker": SLEEP})
    running.pids(2)
    running.end()

    assert "web    | hello" in running.lines
    assert any(line.startswith("worker | up ") for line in running.lines)


def test_started_is_called_once(console):
    running = console({"web": "raise SystemExit(1)", "worker": SLEEP})
    running.read_until("web .* ended", times=2)
    running.end()

    assert running.lines.count("started") == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_every_program_with_what_it_started(console, number):
    running = console({"web": FORK, "worker": SLEEP})
    pids = running.pids(3)

    assert running.end(number) == 0
    assert all_gone(pids, seconds=1)


def test_a_program_may_finish_its_work_before_it_ends(console):
    running = console({"worker": GRACEFUL})
    running.pids()
    running.end()

    assert "worker | finished its work" in running.lines


def test_a_program_that_ignores_the_signal_is_killed_after_the_grace(console):
    running = console({"worker": STUBBORN}, grace=0.5)
    pids = running.pids()

    assert running.end() == 0
    assert all_gone(pids, seconds=1)


def test_a_second_signal_kills_at_once(console):
    running = console({"worker": STUBBORN}, grace=60)
    pids = running.pids()
    running.process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    begun = time.monotonic()

    assert running.end(signal.SIGINT) == 0
    assert time.monotonic() - begun < 10
    assert all_gone(pids, seconds=1)


def test_a_crashed_program_starts_again_and_what_it_left_behind_ends(console):
    running = console({"web": FORK})
    child, parent = sorted(running.pids(2), reverse=True)
    os.kill(parent, signal.SIGKILL)
    running.read_until("web .* ended with status 137; starts again in 0.2 s")

    assert all_gone([child])
    assert set(running.pids(2)).isdisjoint({child, parent})


def test_the_wait_before_a_restart_doubles_up_to_a_bound(console):
    running = console({"web": "raise SystemExit(3)"}, first_delay=0.1, longest_delay=0.3)

    assert running.read_until(r"ended with status 3; starts again in (\S+) s", times=4) == [
        "0.1",
        "0.2",
        "0.3",
        "0.3",
    ]


def test_the_wait_is_short_again_after_a_healthy_run(console):
    running = console({"web": "raise SystemExit(3)"}, first_delay=0.1, healthy_after=0)

    assert running.read_until(r"starts again in (\S+) s", times=3) == ["0.1", "0.1", "0.1"]


def test_a_killed_supervisor_leaves_no_program(console):
    running = console({"web": FORK, "worker": SLEEP})
    pids = running.pids(3)

    assert running.end(signal.SIGKILL) == -signal.SIGKILL
    assert all_gone(pids)


def test_a_console_waits_for_programs_of_a_killed_one(console):
    killed = console({"worker": STUBBORN}, grace=1)
    pids = killed.pids()
    killed.process.kill()

    running = console({"worker": SLEEP})
    running.pids()

    assert all_gone(pids, seconds=0)
    assert running.end() == 0


def test_a_killed_leash_takes_its_program_along(console):
    running = console({"web": FORK})
    pids = running.pids(2)
    [leash] = psutil.Process(running.process.pid).children()
    leash.kill()
    running.read_until("web .* ended with status -9")

    assert all_gone(pids)


def test_a_second_console_is_refused(console):
    first = console({"web": SLEEP})
    first.pids()

    second = console({"web": SLEEP})
    [line] = second.read_until("A console is running already.*")

    assert f"process {first.process.pid}" in line
    assert second.process.wait() == 1


def test_programs_cannot_read_the_terminal(console):
    running = console({"web": "import sys; print('read', repr(sys.stdin.read())); " + SLEEP})

    assert running.read_until(r"read (.*)") == ["''"]


def test_the_lock_is_free_again_after_the_console(tmp_path):
    with only_console(tmp_path), pytest.raises(ConsoleLockedError), only_console(tmp_path):
        pass

    with only_console(tmp_path):
        pass

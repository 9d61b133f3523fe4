"""`manage.py backup create` as a real process, which faults are done to."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

MANAGE = Path(__file__).resolve().parents[3] / "manage.py"
SECONDS = 60


@dataclass
class BackingUp:
    """The console's command, its places and its working folder."""

    folder: Path
    url: str
    places: list = field(default_factory=list)
    variables: dict = field(default_factory=dict)

    def __post_init__(self):
        self.places = self.places or [self.folder / "first", self.folder / "second"]

    @property
    def environment(self):
        return (
            os.environ
            | {
                "BACKUP_DATABASES": f"orders={self.url}",
                "BACKUP_STORAGE_PATH": ",".join(map(str, self.places)),
                "RECOVERY_FOLDER": str(self.folder / "recovery"),
            }
            | self.variables
        )

    def run(self, *arguments):
        return subprocess.run(
            self._command(*arguments),
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            stdin=subprocess.DEVNULL,
        )

    def start(self):
        return subprocess.Popen(
            self._command("create", "orders", "--json"),
            env=self.environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
        )

    def listed(self, code=0):
        done = self.run("list", "--all", "--json")
        assert done.returncode == code, done.stderr
        return last_line(done)["backups"]

    def left(self):
        """Return what is in the stores and the working folder, but for locks."""
        return sorted(
            str(path.relative_to(self.folder))
            for path in self.folder.rglob("*")
            if path.is_file() and path.suffix != ".lock"
        )

    def _command(self, *arguments):
        return [sys.executable, MANAGE, "backup", *arguments]


def last_line(done):
    return json.loads(done.stdout.splitlines()[-1])


def frozen_pg_dump(process):
    """Wait until pg_dump runs below a process, and stop it where it is."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        for child in children(process.pid):
            if is_dumping(child):
                child.send_signal(signal.SIGSTOP)
                return child
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.002)
    raise AssertionError("no pg_dump")


def children(pid):
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def is_dumping(process):
    """Say whether it is pg_dump at work: pg_dumpall and we ask one for its version before."""
    try:
        return process.name() == "pg_dump" and "--format=directory" in process.cmdline()
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return False


def wait_for_end(processes):
    _, alive = psutil.wait_procs(processes, timeout=SECONDS)
    assert alive == []


def finish(process):
    """Return what `run` would have."""
    try:
        stdout, stderr = process.communicate(timeout=SECONDS)
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)

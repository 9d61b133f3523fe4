import os
import signal
import subprocess
import sys
from dataclasses import dataclass

import pytest

from tests.recovery.physical.conftest import own_lab
from tests.recovery.shop import url_of

__all__ = ["own_lab"]


@dataclass
class Worker:
    """Starts the processes of `restore_worker.py`."""

    process: subprocess.Popen

    def ask(self, verb, identifier, point="nowhere", number=signal.SIGKILL):
        print(verb, identifier, int(number), point, file=self.process.stdin, flush=True)
        return self.process.stdout.readline().rstrip("\n")


@pytest.fixture
def start_worker(committed_db, settings, admin_url):
    """Start a worker with the settings of the test."""
    processes = []

    def start(**variables):
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.recovery.faults.restore_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ
            | {
                "DATABASE_URL": url_of(os.environ["DATABASE_URL"], committed_db),
                "BACKUP_DATABASES": settings.BACKUP_DATABASES,
                "BACKUP_STORAGE_PATH": ",".join(settings.BACKUP_STORAGE_PATH),
                "RECOVERY_FOLDER": str(settings.RECOVERY_FOLDER),
            }
            | variables,
        )
        processes.append(process)
        return Worker(process)

    yield start
    for process in processes:
        with process:
            process.stdin.close()
            assert process.wait(60) == 0


@pytest.fixture
def worker(start_worker, backup):
    return start_worker()

"""A real worker says that it lives, and keeps the minute's sample."""

import subprocess
import sys
import time

import pytest

from recovery.models import HealthSample
from recovery.tasks import sample_health


@pytest.fixture
def worker(committed_db, tmp_path):
    command = [sys.executable, "-m", "celery", "--quiet", "--app", "compliance_site", "worker"]
    with open(tmp_path / "worker.log", "w") as log:
        process = subprocess.Popen([*command, "--concurrency", "1"], stdout=log, stderr=log)
    yield process
    process.terminate()
    process.wait(30)


def test_a_worker_lives_and_keeps_the_minutes_sample(worker):
    sample_health.delay()

    deadline = time.monotonic() + 60
    while not HealthSample.objects.exists():
        assert worker.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert HealthSample.objects.get(component="celery").status == "healthy"

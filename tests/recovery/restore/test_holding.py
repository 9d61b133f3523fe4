import logging
import threading

import pytest
from celery import shared_task

from compliance_site.foundation import maintenance
from recovery.restore import holding

ran = []


@shared_task(name="tests.note", ignore_result=True)
def note():
    ran.append(maintenance.is_on())


@pytest.fixture(autouse=True)
def folder(settings, tmp_path):
    settings.RECOVERY_FOLDER = tmp_path / "recovery"
    ran.clear()


@pytest.fixture
def looks(monkeypatch):
    """Count how often somebody looked whether maintenance is on: `looks.acquire()` waits for one."""
    seen, real = threading.Semaphore(0), maintenance.is_on

    def look():
        seen.release()
        return real()

    monkeypatch.setattr(maintenance, "is_on", look)
    return seen


def test_a_task_that_begins_in_maintenance_waits_for_its_end(looks):
    worker = threading.Thread(target=note.apply)
    with maintenance.begin():
        worker.start()
        for _ in range(3):
            assert looks.acquire(timeout=10)
        assert ran == []
    worker.join(10)

    assert ran == [False]


def test_a_task_does_not_wait_for_ever(monkeypatch, caplog):
    monkeypatch.setattr(holding, "LONGEST_SECONDS", 0.0)

    with maintenance.begin(), caplog.at_level(logging.WARNING):
        note.apply()

    assert ran == [True]
    assert "tests.note begins although the console is in maintenance." in caplog.text

import hashlib
import json
import time

import httpx
import psutil
import pytest

from audit.models import AuditLog
from compliance_site.foundation.roles import Role
from recovery.backups.create import create
from recovery.databases import database
from tests.recovery.backups.conftest import make_database  # noqa: F401

MEGABYTES = 32
# Sums of digests: nothing compresses them.
MANY = f"""
CREATE TABLE blob AS
SELECT n, (SELECT decode(string_agg(md5(n || '-' || m), ''), 'hex')
           FROM generate_series(1, 65536) AS m) AS content
FROM generate_series(1, {MEGABYTES}) AS n
"""


@pytest.fixture
def backup(committed_db, make_database, settings, monkeypatch, tmp_path, actor):  # noqa: F811
    """A backup of some 32 MB, where the console that is started afterwards looks for it."""
    settings.BACKUP_DATABASES = f"orders={make_database(MANY)}"
    settings.BACKUP_STORAGE_PATH = [str(tmp_path / "backups")]
    settings.RECOVERY_FOLDER = tmp_path / "recovery"
    monkeypatch.setenv("BACKUP_DATABASES", settings.BACKUP_DATABASES)
    monkeypatch.setenv("BACKUP_STORAGE_PATH", settings.BACKUP_STORAGE_PATH[0])
    monkeypatch.setenv("RECOVERY_FOLDER", str(settings.RECOVERY_FOLDER))
    return create(database("orders"))


@pytest.fixture
def operator(make_user, token_of):
    return {"Authorization": f"Token {token_of(make_user('ana', Role.OPERATOR))}"}


def event_of_download():
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if event := AuditLog.objects.filter(action="DOWNLOAD").first():
            return json.loads(event.details)
        time.sleep(0.1)
    pytest.fail("the download was never recorded")


def memory_of(process):
    found = psutil.Process(process.pid)
    return sum(each.memory_info().rss for each in (found, *found.children(recursive=True)))


def test_a_download_that_is_left_is_recorded_with_what_was_sent(backup, console, operator):
    url = f"{console.url}/backups/{backup.id}/download"

    with httpx.stream("GET", url, headers=operator) as answer:
        next(answer.iter_bytes())

    event = event_of_download()
    assert event["completed"] is False
    assert 0 < event["sent"] < backup.size


def test_a_download_arrives_whole_in_constant_memory(backup, console, operator):
    url = f"{console.url}/backups/{backup.id}/download"
    httpx.get(f"{console.url}/backups", headers=operator).raise_for_status()
    before, most, digest = memory_of(console.process), 0, hashlib.sha256()

    with httpx.stream("GET", url, headers=operator, timeout=120) as answer:
        for part in answer.iter_bytes(4 << 20):
            digest.update(part)
            most = max(most, memory_of(console.process))

    assert digest.hexdigest() == backup.sha256
    assert most - before < (MEGABYTES << 20) // 2
    event = event_of_download()
    assert (event["completed"], event["intact"]) == (True, True)

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import call_command
from django.utils import timezone

from recovery.models import Backup

MANAGE = Path(__file__).resolve().parents[3] / "manage.py"


@pytest.fixture
def run(committed_db):
    def run(*arguments, **changes):
        return subprocess.run(
            [sys.executable, MANAGE, "health", *arguments],
            env=os.environ | changes,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


def test_with_database_and_broker_away_it_says_so_and_ends_with_2(run):
    result = run(
        DATABASE_URL="postgresql://compliance:a-password@127.0.0.1:1/x",
        REDIS_URL="redis://:a-password@127.0.0.1:1/0",
    )

    lines = result.stdout.splitlines()
    assert result.returncode == 2
    assert lines[0].startswith("database   unhealthy")
    assert lines[0].endswith("It refuses connections, or is not there.")
    assert lines[-1] == "The console is unhealthy."
    assert "a-password" not in result.stdout + result.stderr
    assert "127.0.0.1" not in result.stdout + result.stderr


def test_help_has_examples_and_codes(run):
    text = run("--help").stdout

    assert "manage.py health --json" in text
    assert "exit code: 0 healthy, 1 degraded" in text


def test_with_entries_that_wait_the_console_is_degraded(
    committed_db, one_worker, patient, capsys, settings
):
    settings.AUDIT_SPOOL.parent.mkdir()
    settings.AUDIT_SPOOL.write_bytes(b"a line")

    with pytest.raises(SystemExit) as exit_:
        call_command("health")

    assert exit_.value.code == 1
    assert capsys.readouterr().out.splitlines()[-1] == "The console is degraded."


def test_healthy_is_0(committed_db, one_worker, patient, capsys):
    call_command("health")

    out = capsys.readouterr().out
    assert out.splitlines()[-1] == "The console is healthy."
    assert re.search(r"^celery +healthy .* 1 worker$", out, re.MULTILINE)
    assert re.search(r"^disk +healthy .* [\d.]+ [GT]iB free$", out, re.MULTILINE)


def test_a_database_whose_last_backup_failed_is_named(committed_db, one_worker, patient, capsys):
    now = timezone.now()
    Backup.objects.create(id="bad", database="console", state="failed", finished_at=now)

    with pytest.raises(SystemExit) as exit_:
        call_command("health")

    assert exit_.value.code == 1
    assert "console: the last attempt failed." in capsys.readouterr().out


def test_json_is_the_detailed_answer(committed_db, one_worker, capsys, client):
    call_command("health", "--json")

    body = json.loads(capsys.readouterr().out)
    answer = client.get("/health/detailed").json()
    assert set(body) == set(answer)
    assert set(body["components"]) == set(answer["components"])

"""`manage.py` records what it runs: real processes on a real database."""

import json
import os
import pwd
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from audit.capture import commands
from audit.models import AuditLog

PROGRAM = Path(__file__).resolve().parents[3] / "manage.py"
UNREACHABLE = "postgresql://nobody:very-secret@127.0.0.1:1/nothing"


def run(*arguments, **environment):
    return subprocess.run(
        [sys.executable, PROGRAM, *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )


def recorded():
    return AuditLog.objects.filter(action="COMMAND").order_by("id")


def test_a_command_that_hands_something_out_is_recorded_without_its_values(committed_db):
    done = run("issue_token", "alice", "--role", "auditor", "--days=3", "-v0")

    log = recorded().get()
    details = json.loads(log.details)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) == 1
    assert (log.actor_type, log.resource) == ("command", "manage.py issue_token")
    assert log.actor == f"{pwd.getpwuid(os.getuid()).pw_name}: manage.py issue_token"
    assert details.pop("durationMs") >= 0
    assert details == {
        "user": pwd.getpwuid(os.getuid()).pw_name,
        "host": socket.gethostname(),
        "arguments": ["--days", "--role", "-v"],
        "exit": 0,
    }
    assert AuditLog.objects.get(action="ISSUE_TOKEN").request_id == log.request_id


def test_a_command_that_fails_is_recorded_with_its_exit_status(committed_db):
    done = run("issue_token", "alice", "--role", "auditor", "--days", "99999")

    assert done.returncode == 1
    assert "give a number from 1 to 3650" in done.stderr
    assert json.loads(recorded().get().details)["exit"] == 1


def test_a_wrong_option_is_recorded_and_a_command_that_does_not_exist_is_not(committed_db):
    assert run("issue_token", "--no-such-option").returncode == 2
    assert run("no_such_command").returncode == 1

    assert [json.loads(log.details)["exit"] for log in recorded()] == [2]


def test_the_user_behind_sudo_is_recorded_and_names_in_the_environment_are_not_believed(
    committed_db,
):
    run("shell", "-c", "pass", SUDO_USER="alice", LOGNAME="mallory", USER="mallory")

    details = json.loads(recorded().get().details)
    assert (details["user"], details["sudoUser"]) == (pwd.getpwuid(os.getuid()).pw_name, "alice")
    assert details["arguments"] == ["-c"]


@pytest.mark.parametrize(
    "arguments",
    [["showmigrations"], ["check"], ["makemigrations", "--check"], ["migrate", "--help"]],
    ids=" ".join,
)
def test_what_only_reads_is_not_recorded(committed_db, arguments):
    assert run(*arguments).returncode == 0

    assert not recorded().exists()


def test_without_a_database_the_commands_own_error_is_shown_and_a_line_is_logged():
    done = run("issue_token", "alice", "--role", "auditor", DATABASE_URL=UNREACHABLE)

    assert done.returncode == 1
    assert "\ndjango.db.utils.OperationalError: connection failed" in done.stderr
    assert "commands.py" not in done.stderr.split("django.db.utils.OperationalError")[-1]
    (line,) = [line for line in done.stdout.splitlines() if "could not be recorded" in line]
    assert json.loads(line)["message"] == (
        "manage.py issue_token could not be recorded: OperationalError."
    )
    assert "very-secret" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["alice"], []),
        (["--password=very-secret", "--days", "3"], ["--days", "--password"]),
        (["-pvery-secret", "-5", "-", "--"], ["-p"]),
        (["--", "--very-secret"], []),
        (["--Very-Secret", "--ünsafe", "--very secret"], []),
        (
            [f"--option-{number:02}" for number in range(30)],
            [f"--option-{n:02}" for n in range(20)],
        ),
    ],
)
def test_only_names_of_options_are_kept(arguments, names):
    assert commands.option_names(arguments) == names


@pytest.mark.parametrize(
    ("exception", "status"),
    [
        (SystemExit(3), 3),
        (SystemExit(None), 0),
        (SystemExit("message"), 1),
        (KeyboardInterrupt(), 130),
        (ValueError(), 1),
    ],
    ids=repr,
)
def test_the_exit_status_is_the_one_a_shell_shows(exception, status):
    assert commands.exit_status(exception) == status

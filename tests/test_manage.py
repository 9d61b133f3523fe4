import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management.base import CommandError

import manage
from compliance_site.management.commands import run_console

PROGRAM = Path(manage.__file__)


def run(*arguments, **environment):
    return subprocess.run(
        [sys.executable, PROGRAM, *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["help"],
        ["--help"],
        ["version"],
        ["check"],
        ["services"],
        ["migrate", "--help"],
        ["migrate", "-h"],
    ],
    ids=" ".join,
)
def test_commands_that_need_no_database_start_no_services(arguments):
    assert not manage.needs_services(arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        ["migrate"],
        ["makemigrations", "--check"],
        ["check", "--database", "default"],
        ["runserver"],
        ["run_console", "--port", "1"],
        ["shell"],
    ],
    ids=" ".join,
)
def test_other_commands_need_services(arguments):
    assert manage.needs_services(arguments)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, False),
        ({"REDIS_URL": " "}, False),
        ({"REDIS_URL": "redis://"}, True),
        ({"REDIS_URL_FILE": "/run/x"}, True),
    ],
    ids=["unset", "blank", "set", "from a file"],
)
def test_a_variable_counts_as_set_when_settings_would_find_a_value(
    monkeypatch, environment, expected
):
    monkeypatch.delenv("REDIS_URL")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    assert manage.is_set("REDIS_URL") is expected


def test_services_prints_the_addresses_as_one_json_object():
    printed = run("services")

    assert json.loads(printed.stdout) == {
        "database": {
            "url": os.environ["DATABASE_URL"],
            "ownerUrl": os.environ["DATABASE_OWNER_URL"],
        },
        "redis": {"url": os.environ["REDIS_URL"]},
        "running": True,
    }


def test_services_says_when_a_server_does_not_answer():
    printed = run("services", REDIS_URL="redis://127.0.0.1:1/0")

    assert json.loads(printed.stdout)["running"] is False


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("BACKUP_RETENTION_DAYS", "0", "BACKUP_RETENTION_DAYS: 0 is below 1."),
        (
            "DATABASE_URL",
            "mysql://u:hunter2@127.0.0.1/d",
            "DATABASE_URL must read postgresql://user:password@host:port/database.",
        ),
        (
            "BACKUP_DATABASES_FILE",
            "/absent",
            "BACKUP_DATABASES_FILE: No such file or directory: /absent",
        ),
    ],
)
@pytest.mark.parametrize("command", [["backup", "list"], ["check"]], ids=" ".join)
def test_wrong_settings_are_one_sentence(command, variable, value, said):
    ended = run(*command, **{variable: value})

    assert (ended.returncode, ended.stdout, ended.stderr) == (2, "", f"settings: {said}\n")


def test_a_console_does_not_start_on_a_port_that_is_taken():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        with pytest.raises(
            CommandError, match=f"Cannot serve on port {port} of 127.0.0.1.*Set PORT"
        ):
            run_console.require_free(run_console.Address("127.0.0.1", port))


@pytest.mark.parametrize(
    ("host", "expected"), [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "localhost"), ("::1", "[::1]")]
)
def test_the_shown_address_opens_in_a_browser(host, expected):
    assert run_console.Address(host, 8000).browsable_host == expected


def test_the_console_runs_web_worker_and_beat():
    address = run_console.Address("127.0.0.1", 8000)

    assert [program.name for program in run_console.programs(address, worker=True)] == [
        "web",
        "worker",
        "beat",
    ]
    assert [program.name for program in run_console.programs(address, worker=False)] == ["web"]

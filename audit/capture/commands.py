"""Record the management commands that `manage.py` runs: who ran which, when, and how it ended.

Imported before Django is set up, as `manage.py` has to; models come in when there are some.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from django.apps import apps
from django.core.management import get_commands

from audit.capture.actors import system_user

logger = logging.getLogger(__name__)

# They change nothing and hand nothing out.
NOT_RECORDED = {
    "check",
    "collectstatic",
    "compilemessages",
    "diffsettings",
    "findstatic",
    "health",
    "help",
    "makemessages",
    "makemigrations",
    "rotators",
    "services",
    "showmigrations",
    "spectacular",
    "sqlmigrate",
    "version",
}
HELP = {"-h", "--help", "--version"}
# The name of an option without its value: `--days=3` and `-v2` are `--days` and `-v`.
OPTION_NAME = re.compile(r"--[a-z][a-z0-9-]{0,39}(?==|$)|-[A-Za-z](?!-)")
MOST_OPTIONS = 20
LONGEST_USER = 100
# Set by sudo; not a setting of ours.
SUDO_CALLER = "SUDO_USER"


@contextmanager
def recorded(arguments: Sequence[str]) -> Iterator[None]:
    """Record the command once it has run, however it ended, unless it only reads.

    `arguments` are those after the program's name. What the command raises is raised on: a
    database that cannot take the entry is a line in the log, never another error.
    """
    started = time.monotonic()
    status = 0
    try:
        yield
    except BaseException as exc:
        status = exit_status(exc)
        raise
    finally:
        if is_recorded(arguments):
            details = {
                **system_account(),
                "arguments": option_names(arguments[1:]),
                "exit": status,
                "durationMs": round((time.monotonic() - started) * 1000),
            }
            _record(arguments[0], details)


def is_recorded(arguments: Sequence[str]) -> bool:
    """Tell whether the command is one that exists, was run, and does more than read."""
    if not arguments or not HELP.isdisjoint(arguments) or not apps.ready:
        return False
    return arguments[0] in get_commands() and arguments[0] not in NOT_RECORDED


def option_names(arguments: Sequence[str]) -> list[str]:
    """Return the options that were given, without values: those may be secret."""
    ours = arguments[: arguments.index("--")] if "--" in arguments else arguments
    names = [match[0] for argument in ours if (match := OPTION_NAME.match(argument))]
    return sorted(set(names))[:MOST_OPTIONS]


def exit_status(exception: BaseException) -> int:
    """Return what the process will end with, as a shell shows it."""
    if isinstance(exception, KeyboardInterrupt):
        return 128 + signal.SIGINT
    if not isinstance(exception, SystemExit):
        return 1
    code = exception.code
    if isinstance(code, int):
        return code
    return 0 if code is None else 1


def system_account() -> dict[str, object]:
    """Name the operating-system user and the machine; behind sudo also who called it."""
    account: dict[str, object] = {"user": system_user(), "host": socket.gethostname()}
    if caller := os.environ.get(SUDO_CALLER):
        account["sudoUser"] = caller[:LONGEST_USER]
    return account


def _record(command: str, details: dict[str, object]) -> None:
    # Models can be imported only now.
    from django.db import Error

    from audit.capture.recording import record
    from audit.models import Action

    try:
        record(Action.COMMAND, resource=f"manage.py {command}", details=details)
    except Error as exc:
        # The driver's text names hosts and users; the class is enough to look for.
        logger.warning("manage.py %s could not be recorded: %s.", command, type(exc).__name__)

#!/usr/bin/env python
"""Run a management command, on embedded services unless DATABASE_URL and REDIS_URL are set."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import AbstractContextManager, nullcontext
from types import FrameType

from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line

from audit.capture.actors import acting_as, command_actor
from audit.capture.commands import recorded
from compliance_site.foundation import embedded
from compliance_site.foundation.paths import VAR_DIR

# What needs neither database nor broker, or looks whether they are there, starts none.
WITHOUT_SERVICES = {
    "check",
    "collectstatic",
    "compilemessages",
    "health",
    "help",
    "services",
    "spectacular",
    "version",
}
WRONG_SETTINGS = 2
HELP = {"-h", "--help", "--version"}


def main() -> None:
    """Run the command given in the program's arguments."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "compliance_site.settings")
    try:
        with (
            services(sys.argv[1:]),
            acting_as(command_actor(sys.argv)),
            recorded(sys.argv[1:]),
        ):
            execute_from_command_line(sys.argv)
    except embedded.EmbeddedError as exc:
        sys.exit(str(exc))
    except ImproperlyConfigured as exc:
        # It names the variable, and nothing of a secret. A traceback says no more.
        sys.stderr.write(f"settings: {exc}\n")
        sys.exit(WRONG_SETTINGS)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


def services(arguments: list[str]) -> AbstractContextManager[object]:
    """Return the context to run a command in.

    Services start before Django loads its settings, for a start may move one to another port.
    """
    if not needs_services(arguments) or (is_set("DATABASE_URL") and is_set("REDIS_URL")):
        return nullcontext()
    # As after Ctrl-C, the services are released before the process ends.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, leave)
    return embedded.running(VAR_DIR)


def needs_services(arguments: list[str]) -> bool:
    if not arguments or not HELP.isdisjoint(arguments):
        return False
    # `check --database default` asks the database, a plain `check` does not.
    return arguments[0] not in WITHOUT_SERVICES or "--database" in arguments


def is_set(name: str) -> bool:
    """Say whether settings will find a value: in the variable, or in the file that `NAME_FILE` names."""
    return any(os.environ.get(variable, "").strip() for variable in (name, f"{name}_FILE"))


def leave(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)


if __name__ == "__main__":
    main()

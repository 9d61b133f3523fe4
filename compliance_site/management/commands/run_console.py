"""`manage.py run_console`: web, worker and beat in one terminal."""

from __future__ import annotations

import http.client
import logging
import os
import socket
import sys
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import Error, connections

import audit
from audit.models import Action
from compliance_site.foundation import first_run
from compliance_site.foundation.env import env_int, env_secret, env_str
from compliance_site.foundation.first_run import FirstRun
from compliance_site.foundation.supervisor import (
    ConsoleLockedError,
    Program,
    Supervisor,
    only_console,
)

logger = logging.getLogger(__name__)

HEALTH_PATIENCE_SECONDS = 120
WELCOME = """
  Compliance console   {url}
  Sign in              {sign_in}
  API documentation    {url}/api/docs
  API token            {python} manage.py issue_token alice --role auditor

  Ctrl-C stops.
"""


@dataclass(frozen=True)
class Address:
    """Where the web server listens."""

    host: str
    port: int

    @property
    def browsable_host(self) -> str:
        """An address on this machine that a browser can open."""
        if self.host in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
            return "localhost"
        return f"[{self.host}]" if ":" in self.host else self.host


class Command(BaseCommand):
    help = "Prepare the database, then run the web server, the worker and beat until Ctrl-C."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--port", type=int, help="port to serve on (default: $PORT or 8000)")
        parser.add_argument("--no-worker", action="store_true", help="run the web server only")

    def handle(self, *, port: int | None, no_worker: bool, **options: Any) -> None:
        address = Address(env_str("HOST", "127.0.0.1"), port or env_int("PORT", 8000, minimum=1))
        try:
            with only_console(settings.VAR_DIR) as inherited:
                require_free(address)
                account = self.prepare()
                consoles = programs(address, worker=not no_worker)
                supervisor = Supervisor(consoles, inherited=inherited)
                with recorded_run(address, [program.name for program in consoles]):
                    supervisor.run(partial(self.welcome, supervisor, address, account))
        except ConsoleLockedError as exc:
            raise CommandError(str(exc)) from exc

    def prepare(self) -> FirstRun:
        call_command("migrate", verbosity=0)
        account = first_run.prepare(env_secret("COMPLIANCE_ADMIN_PASSWORD", ""))
        if account.generated_password:
            # At once: it is shown nowhere else, and the web server may never come up.
            self.stdout.write(f"Made the account {sign_in(account)}")
        return account

    def welcome(self, supervisor: Supervisor, address: Address, account: FirstRun) -> None:
        """Say where to go and how to sign in, once the web server answers."""
        if wait_for_health(supervisor, address):
            url = f"http://{address.browsable_host}:{address.port}"
            python = os.path.relpath(sys.executable)
            self.stdout.write(WELCOME.format(url=url, sign_in=sign_in(account), python=python))
            self.stdout.flush()


@contextmanager
def recorded_run(address: Address, names: list[str]) -> Iterator[None]:
    """Record that the console starts, and that it stopped; one that was killed has no STOP."""
    details = {"host": address.host, "port": address.port, "programs": names}
    audit.record(Action.START, resource="console", details=details)
    # The programs have connections of their own; one left here would block a restore.
    connections.close_all()
    yield
    try:
        audit.record(Action.STOP, resource="console", details=details)
    except Error as exc:
        logger.warning("The console's stop could not be recorded: %s.", type(exc).__name__)


def sign_in(account: FirstRun) -> str:
    if account.generated_password:
        return f"{account.username} / {account.generated_password}  (shown only this once)"
    return f"{account.username}  (password lost? manage.py changepassword {account.username})"


def programs(address: Address, *, worker: bool) -> list[Program]:
    """Return the web server's command line and those of worker, beat and the log's archive."""
    python = (sys.executable, "-m")
    celery = (*python, "celery", "--quiet", "--app", "compliance_site")
    threads = str(env_int("WEB_THREADS", 16, minimum=1))
    web = (
        *(*python, "granian", "--interface", "wsgi", "--no-ws", "--workers", "1"),
        *("--host", address.host, "--port", str(address.port), "--blocking-threads", threads),
        "compliance_site.wsgi:application",
    )
    commands: dict[str, tuple[str, ...]] = {"web": web}
    if worker:
        commands["worker"] = (*celery, "worker", "--concurrency", "2", "-Q", "celery,recovery")
        commands["beat"] = (*celery, "beat")
    if settings.WAL_ARCHIVE_PATH and settings.RECOVERY_ENGINE == "builtin":
        commands["wal"] = (
            sys.executable,
            str(settings.BASE_DIR / "manage.py"),
            "wal_archive",
            "run",
        )
    # The console may be started from any folder; its programs import from the checkout.
    shared = {"PYTHONPATH": str(settings.BASE_DIR)}
    return [
        Program(name, command, shared | {"LOG_PROCESS": name}) for name, command in commands.items()
    ]


def require_free(address: Address) -> None:
    """Raise CommandError when the web server could not listen there."""
    try:
        family, *_, target = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM
        )[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(target)
    except (OSError, OverflowError) as exc:
        raise CommandError(
            f"Cannot serve on port {address.port} of {address.host}: {exc}. "
            "Set PORT to another one: PORT=8001 make run"
        ) from exc


def wait_for_health(supervisor: Supervisor, address: Address) -> bool:
    """Wait until /health answers, whatever it says; return False when the console stops before."""
    deadline = time.monotonic() + HEALTH_PATIENCE_SECONDS
    while time.monotonic() < deadline and not supervisor.is_stopping:
        connection = http.client.HTTPConnection(address.browsable_host, address.port, timeout=5)
        try:
            connection.request("GET", "/health")
            connection.getresponse()
            return True
        except (OSError, http.client.HTTPException):
            time.sleep(0.2)
        finally:
            connection.close()
    return False

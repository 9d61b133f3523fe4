"""`manage.py run_console`: web, worker and beat in one terminal."""

from __future__ import annotations

import http.client
import os
import socket
import sys
import time
from argparse import ArgumentParser
from functools import partial
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from compliance_site.foundation import first_run
from compliance_site.foundation.env import env_int, env_str
from compliance_site.foundation.first_run import FirstRun
from compliance_site.foundation.supervisor import (
    ConsoleLockedError,
    Program,
    Supervisor,
    only_console,
)

HEALTH_PATIENCE_SECONDS = 120
WELCOME = """
  Compliance console   {url}
  Sign in              {username}{password}
  API documentation    {url}/api/docs
  API token            {python} manage.py issue_token alice --role auditor

  Ctrl-C stops.
"""


class Command(BaseCommand):
    help = "Prepare the database, then run the web server, the worker and beat until Ctrl-C."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--port", type=int, help="port to serve on (default: $PORT or 8000)")
        parser.add_argument("--no-worker", action="store_true", help="run the web server only")

    def handle(self, *, port: int | None, no_worker: bool, **options: Any) -> None:
        host, port = env_str("HOST", "127.0.0.1"), port or env_int("PORT", 8000, minimum=1)
        try:
            with only_console(settings.VAR_DIR) as inherited:
                require_free_port(host, port)
                call_command("migrate", verbosity=0)
                supervisor = Supervisor(
                    programs(host, port, worker=not no_worker), inherited=inherited
                )
                supervisor.run(partial(self.welcome, supervisor, host, port, first_run.prepare()))
        except ConsoleLockedError as exc:
            raise CommandError(str(exc)) from exc

    def welcome(self, supervisor: Supervisor, host: str, port: int, account: FirstRun) -> None:
        """Say how to sign in, once the web server answers."""
        if not wait_for_health(supervisor, host, port):
            return
        # A generated password is shown here and nowhere else.
        password = (
            f" / {account.generated_password}  (shown only this once)"
            if account.generated_password
            else ""
        )
        self.stdout.write(
            WELCOME.format(
                url=f"http://{browsable(host)}:{port}",
                username=account.username,
                password=password,
                python=os.path.relpath(sys.executable),
            )
        )
        self.stdout.flush()


def programs(host: str, port: int, *, worker: bool) -> list[Program]:
    """Return the web server's command line and, with a worker, those of worker and beat."""
    python = (sys.executable, "-m")
    web = Program(
        "web",
        (
            *(
                *python,
                "granian",
                "--interface",
                "wsgi",
                "--host",
                host,
                "--port",
                str(port),
                "--workers",
                "1",
            ),
            *("--blocking-threads", str(env_int("WEB_THREADS", 16, minimum=1))),
            "compliance_site.wsgi:application",
        ),
    )
    celery = (*python, "celery", "--quiet", "--app", "compliance_site")
    if not worker:
        return [web]
    return [
        web,
        Program("worker", (*celery, "worker", "--concurrency", "2")),
        Program("beat", (*celery, "beat")),
    ]


def require_free_port(host: str, port: int) -> None:
    """Raise CommandError when the web server could not listen there."""
    family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as exc:
            raise CommandError(
                f"Port {port} on {host} cannot be used ({exc.strerror}). Set PORT to another one: PORT=8001 make run"
            ) from exc


def wait_for_health(supervisor: Supervisor, host: str, port: int) -> bool:
    """Wait until /health answers, whatever it says; return False when the console stops before."""
    deadline = time.monotonic() + HEALTH_PATIENCE_SECONDS
    while time.monotonic() < deadline and not supervisor.is_stopping:
        connection = http.client.HTTPConnection(browsable(host), port, timeout=5)
        try:
            connection.request("GET", "/health")
            connection.getresponse()
            return True
        except (OSError, http.client.HTTPException):
            time.sleep(0.2)
        finally:
            connection.close()
    return False


def browsable(host: str) -> str:
    """Return an address that a browser on this machine can open when the server listens on all of them."""
    return {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)  # noqa: S104 - compared, not bound

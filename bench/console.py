"""A console to measure: services of its own in a temporary folder, migrated, really served."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from compliance_site.foundation import embedded
from compliance_site.foundation.paths import BASE_DIR

PATIENCE_SECONDS = 60


@dataclass(frozen=True)
class MeasuredConsole:
    """Where the console and its database are; `environment` is what it runs with."""

    url: str
    endpoints: embedded.Endpoints
    environment: dict[str, str]

    def manage(self, *arguments: str) -> str:
        return manage(self.environment, *arguments)


@contextmanager
def console(*, threads: int = 16, **settings: str) -> Iterator[MeasuredConsole]:
    """Serve a console on PostgreSQL and Valkey with their normal, durable settings."""
    folder = Path(tempfile.mkdtemp(prefix="compliance-bench-"))
    # As root the services run as another user, who has to get here.
    folder.chmod(0o755)
    try:
        with embedded.running(folder) as endpoints:
            environment = environment_of(endpoints, folder) | settings
            manage(environment, "migrate", "--verbosity", "0")
            with served(environment, threads) as url:
                yield MeasuredConsole(url, endpoints, environment)
    finally:
        embedded.remove(folder)
        shutil.rmtree(folder, ignore_errors=True)


def environment_of(endpoints: embedded.Endpoints, folder: Path) -> dict[str, str]:
    return os.environ | {
        "COMPLIANCE_ENV": "development",
        "COMPLIANCE_VAR_DIR": str(folder),
        "DJANGO_SETTINGS_MODULE": "compliance_site.settings",
        "SECRET_KEY": secrets.token_urlsafe(64),
        "COMPLIANCE_MASTER_KEY": secrets.token_hex(32),
        "DATABASE_URL": endpoints.database_url,
        "DATABASE_OWNER_URL": endpoints.owner_url,
        "REDIS_URL": endpoints.redis_url,
        "LOG_LEVEL": "WARNING",
    }


def manage(environment: dict[str, str], *arguments: str) -> str:
    command = [sys.executable, str(BASE_DIR / "manage.py"), *arguments]
    done = subprocess.run(
        command, env=environment, cwd=BASE_DIR, check=True, stdout=subprocess.PIPE, text=True
    )
    return done.stdout.strip()


@contextmanager
def served(environment: dict[str, str], threads: int, path: str = "/health") -> Iterator[str]:
    """Run the web server as `run_console` does and yield its URL."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "granian", "--interface", "wsgi", "--no-ws", "--workers", "1"]
    command += ["--port", str(port), "--blocking-threads", str(threads)]
    server = subprocess.Popen(
        [*command, "compliance_site.wsgi:application"],
        env=environment,
        cwd=BASE_DIR,
        stdout=sys.stderr,
    )
    try:
        url = f"http://127.0.0.1:{port}"
        wait_for(f"{url}{path}", server)
        yield url
    finally:
        server.terminate()
        server.wait(30)


def wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while server.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    sys.exit("The console to measure did not start.")

"""A web server as `run_console` starts it, on services of its own that may be frozen."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil

from compliance_site.foundation.embedded import postgres, valkey
from compliance_site.management.commands.run_console import Address, programs
from tests.conftest import free_port, wait_until_healthy

BASE_DIR = Path(__file__).resolve().parents[3]
# The one address that needs no token.
SCRAPER = "10.254.213.2"
ASKED = re.compile(r'^health_probes_total\{component="(\w+)"\} ([\d.]+)$', re.MULTILINE)


@dataclass(frozen=True)
class Answer:
    status: int
    body: dict
    seconds: float


@dataclass(frozen=True)
class Served:
    """The web server, and what it runs on."""

    url: str
    process: subprocess.Popen
    home: object
    endpoints: object
    token: str

    def get(self, path, **options):
        return httpx.get(f"{self.url}{path}", timeout=30, **options)

    def flood(self, path, *, clients, tokens=("",)):
        """Ask with so many clients at once, each with the next token in turn."""
        return asyncio.run(self._flood(path, clients, tokens))

    async def _flood(self, path, clients, tokens):
        asking = [self._ask(path, tokens[number % len(tokens)]) for number in range(clients)]
        return await asyncio.gather(*asking)

    async def _ask(self, path, token):
        began = time.monotonic()
        port = urlsplit(self.url).port
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        credentials = f"Authorization: Token {token}\r\n" if token else ""
        head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{credentials}\r\n"
        writer.write(head.encode())
        text = (await reader.read()).decode()
        writer.close()
        head, _, body = text.partition("\r\n\r\n")
        return Answer(int(head.split()[1]), json.loads(body), time.monotonic() - began)

    def asked(self):
        """Return how often each part was really asked, as the metrics tell."""
        found = ASKED.findall(self.metrics())
        return Counter({name: int(float(value)) for name, value in found})

    def metrics(self):
        """Scrape as Prometheus does, from the address that may."""
        return self.get("/metrics", headers={"X-Forwarded-For": SCRAPER}).text

    def connections_to(self, service):
        url = urlsplit(
            self.endpoints.database_url if service == "postgres" else self.endpoints.redis_url
        )
        server = psutil.Process(self.process.pid)
        return sum(
            1
            for process in [server, *server.children(recursive=True)]
            for each in process.net_connections("tcp")
            if each.raddr and each.raddr.port == url.port
        )

    @contextmanager
    def frozen(self, service):
        """Stop every process of a service, and let them go on afterwards."""
        found = (postgres if service == "postgres" else valkey).find(self.home)
        processes = [found, *found.children(recursive=True)]
        send(processes, signal.SIGSTOP)
        try:
            yield
        finally:
            send(processes, signal.SIGCONT)


def send(processes, number):
    for process in processes:
        try:
            process.send_signal(number)
        except psutil.NoSuchProcess:
            continue


@contextmanager
def served(endpoints, home, folder):
    """Migrate and serve; the client's address proves nothing, so that tokens are what counts."""
    environment = os.environ | {
        "COMPLIANCE_VAR_DIR": str(folder),
        "DATABASE_URL": endpoints.database_url,
        "DATABASE_OWNER_URL": endpoints.owner_url,
        "DATABASE_ADMIN_URL": endpoints.admin_url,
        "REDIS_URL": endpoints.redis_url,
        "AUDIT_SPOOL": str(folder / "audit-spool" / "entries"),
        "RECOVERY_FOLDER": str(folder / "recovery"),
        "HEALTH_DETAIL_NETWORKS": SCRAPER,
        "TRUSTED_PROXIES": "127.0.0.1",
    }

    def manage(*arguments):
        command = [sys.executable, BASE_DIR / "manage.py", *arguments]
        done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
        return done.stdout

    manage("migrate", "--verbosity", "0")
    token = re.search(r"cc_\w+", manage("issue_token", "olaf", "--role", "operator"))[0]
    (web,) = programs(Address("127.0.0.1", free_port()), worker=False)
    with open(folder / "web.log", "w") as log:
        process = subprocess.Popen(
            web.command, env=environment | web.environment, stdout=log, stderr=log
        )
    url = f"http://127.0.0.1:{web.command[web.command.index('--port') + 1]}"
    try:
        assert wait_until_healthy(url, process), (folder / "web.log").read_text()
        yield Served(url, process, home, endpoints, token)
    finally:
        process.terminate()
        process.wait(30)

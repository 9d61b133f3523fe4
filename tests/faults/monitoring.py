"""Prometheus and Alertmanager as deploy/ configures them, but here, and with shorter waits."""

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import yaml

from compliance_site.management.commands.run_console import Address, programs
from tests.conftest import free_port, wait_until_healthy

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
# How prometheus.yml tells to use a token.
AUTHORIZATION = re.compile(r"^#\s+(authorization: \{.*\})$", re.MULTILINE)
PATIENCE_SECONDS = 45


def until(found, what, seconds=PATIENCE_SECONDS):
    """Ask until the answer is true, and return it."""
    deadline = time.monotonic() + seconds
    while not (answer := found()):
        assert time.monotonic() < deadline, what() if callable(what) else what
        time.sleep(0.1)
    return answer


def manage(*arguments, **variables):
    return subprocess.run(
        [sys.executable, ROOT / "manage.py", *arguments],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


class WebServer:
    """The console's, which lets nobody read its figures without a token."""

    def __init__(self, folder):
        self.folder = folder
        (self.program,) = programs(Address("127.0.0.1", free_port()), worker=False)
        self.port = self.program.command[self.program.command.index("--port") + 1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = None

    def start(self):
        environment = os.environ | self.program.environment | {"HEALTH_DETAIL_NETWORKS": "none"}
        with open(self.folder / "web.log", "ab") as log:
            self.process = subprocess.Popen(
                self.program.command, env=environment, stdout=log, stderr=log
            )
        assert wait_until_healthy(self.url, self.process), (self.folder / "web.log").read_text()

    def kill(self):
        """Kill it and what it started, also when it has ended already."""
        if self.process.poll() is not None:
            return
        server = psutil.Process(self.process.pid)
        for process in [server, *server.children(recursive=True)]:
            process.send_signal(signal.SIGKILL)
        self.process.wait()


@dataclass(frozen=True)
class Prometheus:
    url: str

    def ask(self, path, **parameters):
        answer = httpx.get(f"{self.url}/api/v1/{path}", params=parameters, timeout=30).json()
        assert answer["status"] == "success", answer
        return answer["data"]

    def query(self, expression):
        return self.ask("query", query=expression)["result"]


@contextmanager
def prometheus(folder, *, console, token, alertmanager="127.0.0.1:9"):
    """Run it with the shipped rules, every second; minutes that an alert must last are seconds."""
    configuration = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())
    configuration["global"] = dict.fromkeys(configuration["global"], "1s")
    (scraped,) = configuration["scrape_configs"]
    scraped["static_configs"] = [{"targets": [console]}]
    scraped |= yaml.safe_load(AUTHORIZATION.search(text_of("prometheus/prometheus.yml"))[1])
    scraped["authorization"]["credentials_file"] = str(folder / "console_token")
    (alerted,) = configuration["alerting"]["alertmanagers"]
    alerted["static_configs"] = [{"targets": [alertmanager]}]
    (folder / "rules").mkdir()
    for path in (DEPLOY / "prometheus/rules").glob("*.yml"):
        rules = re.sub(r"^( *for: \d+)m$", r"\1s", path.read_text(), flags=re.MULTILINE)
        (folder / "rules" / path.name).write_text(rules)
    (folder / "console_token").write_text(token)
    (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    address = f"127.0.0.1:{free_port()}"
    with running(
        "prometheus",
        f"--config.file={folder}/prometheus.yml",
        f"--storage.tsdb.path={folder}/prometheus",
        f"--web.listen-address={address}",
        url=f"http://{address}/-/ready",
        log=folder / "prometheus.log",
    ):
        yield Prometheus(f"http://{address}")


@contextmanager
def alertmanager(folder, **variables):
    """Run it as these variables configure it; who is told waits a second and not minutes."""
    rendered = subprocess.run(
        ["sh", DEPLOY / "alertmanager/configure.sh"],
        env={"PATH": os.environ["PATH"]} | variables,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    soon = re.sub(r"^( *group_(?:wait|interval)): \w+$", r"\1: 1s", rendered, flags=re.MULTILINE)
    (folder / "alertmanager.yml").write_text(soon)
    address = f"127.0.0.1:{free_port()}"
    with running(
        "prometheus-alertmanager",
        f"--config.file={folder}/alertmanager.yml",
        f"--storage.path={folder}/alertmanager",
        "--cluster.listen-address=",
        f"--web.listen-address={address}",
        url=f"http://{address}/-/ready",
        log=folder / "alertmanager.log",
    ):
        yield address


@contextmanager
def running(*command, url, log):
    with open(log, "ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        until(lambda: process.poll() is not None or is_ready(url), log.read_text)
        assert process.poll() is None, log.read_text()
        yield
    finally:
        process.kill()
        process.wait()


def is_ready(url):
    try:
        return httpx.get(url).is_success
    except httpx.TransportError:
        return False


def text_of(path):
    return (DEPLOY / path).read_text()

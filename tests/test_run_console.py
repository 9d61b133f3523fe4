"""The way of `make run`: from an empty folder to a console that answers, and back."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import httpx
import psutil
import pytest

from tests.conftest import free_port

MANAGE = Path(__file__).resolve().parents[1] / "manage.py"
REMOVE = "from compliance_site.foundation import embedded, paths; embedded.remove(paths.VAR_DIR)"
CONFIGURED = ("DATABASE_URL", "DATABASE_OWNER_URL", "DATABASE_ADMIN_URL", "REDIS_URL", "SECRET_KEY")


@pytest.fixture
def var():
    # Not below pytest's own folder, which other users may not enter: as root the services
    # run as another user.
    folder = Path(tempfile.mkdtemp(prefix="compliance-console-"))
    folder.chmod(0o755)
    yield folder / "var"
    run(folder / "var", "-c", REMOVE)
    shutil.rmtree(folder)


def environment(var, **overrides):
    kept = {name: value for name, value in os.environ.items() if name not in CONFIGURED}
    kept.pop("COMPLIANCE_ENV", None)
    return kept | {"COMPLIANCE_VAR_DIR": str(var), "PYTHONPATH": str(MANAGE.parent)} | overrides


def run(var, *arguments):
    return subprocess.run(
        [sys.executable, *arguments],
        env=environment(var),
        cwd="/",
        check=True,
        capture_output=True,
        text=True,
    ).stdout


class Console:
    """`manage.py run_console` in a folder that is not the checkout."""

    def __init__(self, var, **overrides):
        self.port = free_port()
        self.process = subprocess.Popen(
            [sys.executable, MANAGE, "run_console"],
            env=environment(var, PORT=str(self.port), **overrides),
            cwd="/",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.output = []
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        with self.process.stdout as lines:
            self.output.extend(lines)

    @property
    def text(self):
        return "".join(self.output)

    def wait_for(self, words, seconds=90):
        deadline = time.monotonic() + seconds
        while words not in self.text:
            assert time.monotonic() < deadline, self.text
            assert self.process.poll() is None, self.text
            time.sleep(0.1)

    def stop(self, number=signal.SIGTERM):
        children = psutil.Process(self.process.pid).children(recursive=True)
        self.process.send_signal(number)
        status = self.process.wait(40)
        _, alive = psutil.wait_procs(children, 20)
        self.reader.join(10)
        return status, alive


def test_a_console_starts_signs_in_stops_and_keeps_its_data(var):
    first = Console(var)
    first.wait_for("Ctrl-C stops.")
    password = re.search(r"admin / (\S+)", first.text)[1]
    with httpx.Client(base_url=f"http://127.0.0.1:{first.port}") as browser:
        token = re.search(r'csrfmiddlewaretoken" value="(\w+)', browser.get("/admin/login/").text)[
            1
        ]
        answer = browser.post(
            "/admin/login/",
            data={"username": "admin", "password": password, "csrfmiddlewaretoken": token},
        )
        assert answer.headers["Location"] == "/admin/"
        assert browser.get("/audit/stats").json()["byAction"]["LOGIN"] == 1
    first.wait_for("ready.")  # the worker
    assert first.stop() == (0, [])

    second = Console(var, COMPLIANCE_ADMIN_PASSWORD="not used: the account is there")
    second.wait_for("Ctrl-C stops.")
    assert password not in second.text
    auditor = run(var, MANAGE, "issue_token", "alice", "--role", "auditor").strip()
    logins = httpx.get(
        f"http://127.0.0.1:{second.port}/audit/logs?action=LOGIN",
        headers={"Authorization": f"Token {auditor}"},
    ).json()
    assert logins["total"] == 1
    runs = httpx.get(
        f"http://127.0.0.1:{second.port}/audit/logs?resource=console",
        headers={"Authorization": f"Token {auditor}"},
    ).json()
    assert [log["action"] for log in runs["logs"]] == ["START", "STOP", "START"]
    assert json.loads(runs["logs"][1]["details"])["programs"] == ["web", "worker", "beat"]
    assert second.stop(signal.SIGINT) == (0, [])

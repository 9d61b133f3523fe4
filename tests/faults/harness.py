"""A whole console under load: its own PostgreSQL, supervisor, web server, worker and beat."""

import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import httpx
import psutil
import psycopg

from compliance_site.foundation import embedded
from tests.conftest import free_port

MANAGE = Path(__file__).resolve().parents[2] / "manage.py"
CONFIGURED = re.compile(r"DATABASE_|REDIS_URL|SECRET_KEY|COMPLIANCE_|AUDIT_SPOOL")
CLIENTS = 16
STORED = "SELECT request_id, count(*) FROM audit_log WHERE request_id LIKE 'load-%' GROUP BY 1"


class WholeConsole:
    """`manage.py run_console` in a folder of its own, which faults are done to."""

    def __init__(self, **variables):
        self.folder = Path(tempfile.mkdtemp(prefix="compliance-faults-"))
        # As root the services run as another user, who has to get here.
        self.folder.chmod(0o755)
        self.var = self.folder / "var"
        self.port = free_port()
        inherited = {k: v for k, v in os.environ.items() if not CONFIGURED.match(k)}
        self.environment = (
            inherited
            | variables
            | {
                "COMPLIANCE_VAR_DIR": str(self.var),
                "PORT": str(self.port),
            }
        )
        self.supervisor = None

    def start(self):
        """Start the console, or start it again, and wait until it answers."""
        with open(self.folder / "console.log", "ab") as log:
            self.supervisor = subprocess.Popen(
                [sys.executable, MANAGE, "run_console"],
                env=self.environment,
                stdout=log,
                stderr=log,
            )
        self.wait_until_healthy()

    def wait_until_healthy(self, seconds=90):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                if httpx.get(f"http://127.0.0.1:{self.port}/health", timeout=2).is_success:
                    return
            except httpx.TransportError:
                time.sleep(0.1)
        raise AssertionError(self.log_tail())

    def kill(self, word):
        """Kill -9 the processes of the supervisor whose command line has this word."""
        children = psutil.Process(self.supervisor.pid).children(recursive=True)
        found = [
            process
            for process in children
            if word in command_of(process) and "leash.py" not in command_of(process)
        ]
        assert found, word
        signal_all(found, signal.SIGKILL)

    def kill_supervisor(self):
        self.supervisor.kill()
        self.supervisor.wait()

    def postgres(self):
        """Return the postmaster and its processes."""
        data = str(self.var / "services" / "postgres")
        for process in psutil.process_iter(["cmdline"]):
            if "-D" in (process.info["cmdline"] or []) and data in process.info["cmdline"]:
                return [process, *process.children(recursive=True)]
        raise AssertionError("no PostgreSQL runs")

    def connect(self):
        return psycopg.connect(embedded.endpoints(self.var).admin_url, dbname="abtpro_db")

    def log_tail(self):
        lines = (self.folder / "console.log").read_text().splitlines()
        return "\n".join(line for line in lines if '"INFO"' not in line)[-4000:]

    def remove(self):
        if self.supervisor is not None and self.supervisor.poll() is None:
            self.supervisor.terminate()
            self.supervisor.wait(60)
        embedded.remove(self.var)
        shutil.rmtree(self.folder)


class Load:
    """Sixteen clients that ask without pause; remembers which requests were answered."""

    def __init__(self, console):
        self.url = f"http://127.0.0.1:{console.port}/load/{{}}"
        self.numbers = itertools.count(1)
        self.answered = set()
        self.statuses = Counter()
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self.ask) for _ in range(CLIENTS)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *exception):
        self.stopping.set()
        for thread in self.threads:
            thread.join()

    def ask(self):
        client = httpx.Client(timeout=60)
        while not self.stopping.is_set():
            request_id = f"load-{next(self.numbers):08}"
            try:
                answer = client.get(
                    self.url.format(request_id), headers={"X-Request-ID": request_id}
                )
            except httpx.TransportError:
                time.sleep(0.05)
                continue
            self.statuses[answer.status_code] += 1
            # The view answers 404; 503 says that the entry could not be made durable.
            if answer.status_code == 404:
                self.answered.add(request_id)
        client.close()


def command_of(process):
    try:
        return " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return ""


def signal_all(processes, number):
    for process in processes:
        try:
            process.send_signal(number)
        except psutil.NoSuchProcess:
            continue


def account(console, load, title):
    """Wait for the replay, then compare what was answered with what is stored."""
    deadline = time.monotonic() + 90
    while True:
        with console.connect() as connection:
            stored = dict(connection.execute(STORED).fetchall())
        missing = load.answered - stored.keys()
        if not missing or time.monotonic() > deadline:
            break
        time.sleep(0.5)
    doubled = {request_id for request_id, count in stored.items() if count > 1}
    print(
        f"{title}: acknowledged {len(load.answered)}, stored {len(stored)}, "
        f"missing {len(missing)}, doubled {len(doubled)}; answers {dict(load.statuses)}"
    )
    assert len(load.answered) > 100, console.log_tail()
    assert (missing, doubled) == (set(), set()), console.log_tail()

"""Whole servers of the tests' own, in any version that is installed, with an archive and a receiver."""

import inspect
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import psutil
import psycopg

from compliance_site.foundation.embedded import ports, processes
from compliance_site.foundation.embedded.home import Home
from compliance_site.foundation.secret_text import SecretText
from recovery.databases import Database
from recovery.physical import server
from recovery.physical.accounts import account_of, run
from recovery.physical.archive import Archive
from recovery.physical.builtin import BuiltIn
from recovery.physical.engine import Target, TargetKind
from recovery.programs import programs_for

MANAGE = Path(__file__).resolve().parents[3] / "manage.py"
ADMIN = "lab_admin"
# No data survives a power cut here; a killed process is another matter.
OPTIONS = {
    "fsync": "off",
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "shared_buffers": "16MB",
    "max_slot_wal_keep_size": "512MB",
    "wal_keep_size": "0",
    "min_wal_size": "32MB",
    "autovacuum": "off",
}


def wait_until(condition, seconds=30.0):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, inspect.getsource(condition)
        time.sleep(0.02)
    return found


def system_version():
    """Return the major version of the newest PostgreSQL that this machine has beside the wheel's."""
    servers = Path("/usr/lib/postgresql").glob("*/bin/postgres")
    return max(int(server.parts[4]) for server in servers)


SYSTEM = system_version()
WHEEL = 18


class Lab:
    """A primary in a folder of its own; everything else is made as a test asks for it."""

    def __init__(self, version, **options):
        self.folder = Path(tempfile.mkdtemp(prefix="pitr-tests-"))
        self.folder.chmod(0o755)
        self.account = account_of(self.folder)
        self.account.own(self.folder)
        self.version = version
        self.programs = programs_for(version * 10_000)
        self.data = self.folder / "data"
        self.port = ports.choose()
        self.options = OPTIONS | options
        self.password = secrets.token_urlsafe(12)
        self.database = Database(
            "lab", "postgres", "127.0.0.1", self.port, ADMIN, SecretText(self.password)
        )
        self.archives = self.folder / "archive"
        self.archive = Archive(self.archives / "lab")
        self.engine = BuiltIn(self.database, self.archive)
        self.receivers = []
        self.restored = []
        self._initdb()
        self.start()

    @property
    def url(self):
        return f"postgresql://{ADMIN}:{self.password}@127.0.0.1:{self.port}/postgres"

    def _initdb(self):
        password_file = self.folder / "password"
        password_file.write_text(self.password)
        self.account.own(password_file)
        command = [self.programs.path("initdb"), f"--pgdata={self.data}", f"--username={ADMIN}"]
        command += [f"--pwfile={password_file}", "--auth=scram-sha-256", "--no-sync"]
        command += ["--encoding=UTF8", "--locale=C", "--data-checksums"]
        run(command, account=self.account)

    def start(self):
        command = [self.programs.path("postgres"), "-D", self.data]
        for name, value in (self.options | {"port": str(self.port)}).items():
            command += ["-c", f"{name}={value}"]
        self.process = processes.launch(
            Home(self.folder, self.account), command, self.folder / "log"
        )
        wait_until(self._answers)

    def _answers(self):
        assert processes.is_alive(self.process), (self.folder / "log").read_text()[-2000:]
        try:
            psycopg.connect(self.url, connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True

    def execute(self, statement, *values):
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else None

    def now(self):
        return self.execute("SELECT clock_timestamp()")[0][0]

    def position(self):
        return server.observe(self.database).position

    def environment(self):
        return os.environ | {
            "BACKUP_DATABASES": f"lab={self.url}",
            "WAL_ARCHIVE_PATH": str(self.archives),
            "POSTGRESQL_PROGRAMS": str(self.programs.folder),
        }

    def manage(self, *arguments):
        return subprocess.run(
            [sys.executable, MANAGE, *arguments],
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
        )

    def receive(self, *, wait=True):
        """Start `manage.py wal_archive run`."""
        with open(self.folder / "receiver.log", "ab") as log:
            command = [sys.executable, MANAGE, "wal_archive", "run", "--database", "lab"]
            # It outlives the test that starts it: its entries must not be in another test's log.
            elsewhere = {"DATABASE_URL": self.url, "AUDIT_SPOOL": str(self.folder / "spool")}
            environment = self.environment() | elsewhere
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        self.receivers.append(process)
        if wait:
            self.wait_for_receiver()
        return process

    def wait_for_receiver(self):
        def receives():
            assert self.receivers[-1].poll() is None, self.receiver_log()
            return server.observe(self.database).receiving

        try:
            wait_until(receives)
        except AssertionError as exc:
            raise AssertionError(self.receiver_log()[-3000:]) from exc

    def stop_receiving(self):
        self.receivers[-1].terminate()
        self.receivers[-1].wait(30)

    def receiver_log(self):
        return (self.folder / "receiver.log").read_text()

    def pg_receivewal(self):
        """Return the running program."""
        return processes.find("pg_receivewal", f"--directory={self.archive.wal}")

    def caught_up(self):
        """Wait until what the server has written is in the archive, and a sample says so."""
        position, at = self.position(), self.now()
        wait_until(lambda: self.archive.newest() >= position)
        wait_until(lambda: self.engine.covered() and self.engine.covered()[-1].until_at >= at)

    def restore_folder(self):
        folder = self.folder / f"restored-{secrets.token_hex(2)}"
        self.restored.append(folder)
        return folder

    def restored_rows(self, outcome, query):
        with psycopg.connect(
            host="127.0.0.1",
            port=outcome.port,
            user=ADMIN,
            password=self.password,
            dbname="postgres",
        ) as connection:
            return connection.execute(query).fetchall()

    def restart(self, **options):
        processes.terminate(self.process, (signal.SIGINT, 10.0))
        self.options |= options
        self.start()

    def kill(self):
        """Kill -9 the server and all its processes at once."""
        family = [self.process, *self.process.children(recursive=True)]
        for each in family:
            each.send_signal(signal.SIGKILL)
        processes.wait_until_gone(family, 10)

    def destroy(self):
        self.kill()
        shutil.rmtree(self.data)

    def remove(self):
        for process in self.receivers:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.terminate()
                process.wait(30)
        for folder in (*self.restored, self.data):
            if found := processes.find("postgres", str(folder)):
                processes.terminate(found, (signal.SIGQUIT, 10.0))
        shutil.rmtree(self.folder)


def at(moment):
    return Target(TargetKind.TIME, at=moment)


def lsn(position):
    return Target(TargetKind.LSN, position=position)


def named(point):
    return Target(TargetKind.NAME, point=point)


LATEST = Target(TargetKind.LATEST)
LONG_AGO = datetime(2001, 1, 1, tzinfo=UTC)


def children(process):
    return psutil.Process(process.pid).children(recursive=True)

"""Real targets with a secret on each, and processes that carry its runs on."""

import os
import secrets
import signal
import subprocess
import sys
from dataclasses import dataclass
from datetime import timedelta

import pytest

from secrets_rotation import catalogue
from tests.secrets_rotation.rotators.conftest import (  # noqa: F401  fixtures
    cluster,
    make_role,
    own_cluster,
    programs,
)
from tests.secrets_rotation.rotators.test_valkey_acl import (  # noqa: F401  fixtures
    ADMIN_PASSWORD,
    make_server,
    server,
)

NO_GRACE = {"grace": timedelta(0)}


@pytest.fixture
def add_secret():
    def add(rotator, target, name="crash", **fields):
        fields.setdefault("override", NO_GRACE)
        description = catalogue.Description("DATABASE", name, rotator, target, **fields)
        return catalogue.add(description)

    return add


@pytest.fixture
def postgresql(cluster):  # noqa: F811
    """The settings of a target on the tests' PostgreSQL."""
    return settings_of(cluster)


def settings_of(cluster):  # noqa: F811
    target = cluster.target
    return target | {"adminPassword": target["adminPassword"].reveal()}


@pytest.fixture
def make_pair(cluster, make_role):  # noqa: F811
    """Make two roles that take turns, and their group, set up as documented."""

    def make():
        tag = secrets.token_hex(6)
        group = make_role(f"group_{tag}", "NOLOGIN")
        names = [make_role(f"app_{letter}_{tag}", "LOGIN") for letter in "ab"]
        for name in names:
            cluster.execute("GRANT {} TO {}", group, name)
            cluster.execute("ALTER ROLE {} SET ROLE {}", name, group)
        return {"usernames": names, "group": group}

    return make


@pytest.fixture
def postgresql_role_secret(committed_db, add_secret, postgresql, make_role):  # noqa: F811
    return add_secret("postgresql_role", postgresql | {"username": make_role()})


@pytest.fixture
def postgresql_pair_secret(committed_db, add_secret, postgresql, make_pair):
    return add_secret("postgresql_pair", postgresql | make_pair())


@pytest.fixture
def valkey_acl_secret(committed_db, add_secret, server):  # noqa: F811
    target = server.target | {"adminPassword": ADMIN_PASSWORD}
    return add_secret("valkey_acl", target)


@dataclass
class Worker:
    """Starts the processes of `worker.py`."""

    process: subprocess.Popen

    def ask(self, *words):
        print(*words, file=self.process.stdin, flush=True)
        answer, *rest = self.process.stdout.readline().split()
        assert answer in ("done", "killed", "stopped"), (answer, rest)
        return answer, rest

    def carry_on(self, run, kill_at=0):
        """Carry a run on in a process; tell whether that was killed."""
        answer, _ = self.ask(run.pk, kill_at, int(signal.SIGKILL))
        return answer == "killed"

    def pause(self, run, stop_at):
        """Carry a run on up to a point; return the id of the process that stands there."""
        answer, rest = self.ask(run.pk, stop_at, int(signal.SIGSTOP))
        return int(rest[0]) if answer == "stopped" else None

    def resume(self, pid):
        assert self.ask("resume", pid)[0] == "done"


@pytest.fixture
def worker(committed_db):
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.secrets_rotation.faults.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"DATABASE_URL": database_url(committed_db)},
    )
    with process:
        yield Worker(process)
        process.stdin.close()
        assert process.wait(30) == 0


def database_url(name):
    return f"{os.environ['DATABASE_URL'].rpartition('/')[0]}/{name}"

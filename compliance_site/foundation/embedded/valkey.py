"""The embedded Valkey: write its configuration, start, adopt and stop it."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import psutil
import redis

from compliance_site.foundation.embedded import ports, processes
from compliance_site.foundation.embedded.exceptions import PortTakenError, StartError
from compliance_site.foundation.embedded.home import Home
from compliance_site.foundation.embedded.identity import Identity, write_private

SERVICE = "Valkey"
READY_SECONDS = 60.0
# It writes what it holds before it ends.
STOP = ((signal.SIGTERM, 15.0),)
CONFIGURATION = """\
# Written at every start from var/embedded.json.
bind {host}
port {port}
requirepass {password}
protected-mode yes
daemonize no
dir "{folder}"
# Queued tasks survive a restart; a machine that loses power loses at most the last second.
appendonly yes
appendfsync everysec
save ""
# Its arguments stay as they are: by those it is recognised.
set-proc-title no
"""


def find(home: Home) -> psutil.Process | None:
    """Find the running server of our configuration file."""
    return processes.find("valkey-server", str(_configuration(home)))


def start(home: Home, program: Path, identity: Identity) -> None:
    """Start the server, or adopt the one that runs with this port and password.

    Raise StartError, PortTakenError when only another port is needed.
    """
    if find(home):
        if answers(identity.endpoints().redis_url, patience=READY_SECONDS):
            return
        stop(home)
    home.make_data_folder(home.valkey_data)
    _configure(home, identity)
    command: list[str | Path] = [program, _configuration(home)]
    _wait_until_ready(home, identity, processes.launch(home, command, _log(home)))


def stop(home: Home) -> None:
    """Stop the server; it writes its data first."""
    if process := find(home):
        processes.terminate(process, *STOP)


def answers(url: str, *, patience: float = 0.0) -> bool:
    """Say whether the server at a Redis URL answers, waiting that many seconds while it loads its data."""
    deadline = time.monotonic() + patience
    with redis.Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2) as client:
        while True:
            try:
                return bool(client.ping())
            except redis.BusyLoadingError:
                if time.monotonic() > deadline:
                    return False
                time.sleep(0.05)
            except redis.RedisError:
                return False


def _log(home: Home) -> Path:
    return home.path / "valkey.log"


def _configuration(home: Home) -> Path:
    return home.path / "valkey.conf"


def _configure(home: Home, identity: Identity) -> None:
    text = CONFIGURATION.format(
        host=ports.HOST,
        port=identity.redis_port,
        password=identity.redis_password,
        folder=home.valkey_data,
    )
    write_private(_configuration(home), text)
    home.account.own(_configuration(home))


def _wait_until_ready(home: Home, identity: Identity, process: psutil.Process) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        if not processes.is_alive(process):
            taken = not ports.is_free(identity.redis_port)
            raise (PortTakenError if taken else StartError)(SERVICE, _log(home))
        if answers(identity.endpoints().redis_url):
            return
        time.sleep(0.02)
    raise StartError(SERVICE, _log(home), f"was not ready after {READY_SECONDS:.0f} s")

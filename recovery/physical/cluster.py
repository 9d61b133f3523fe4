"""The restored server: started beside everything else, watched until its recovery ends."""

from __future__ import annotations

import os
import pwd
import re
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from shlex import join

import psutil
import psycopg

from compliance_site.foundation.embedded import processes
from compliance_site.foundation.embedded.home import Home
from recovery.exceptions import ProgramError
from recovery.physical.accounts import Account, run
from recovery.physical.wal import parse_lsn
from recovery.programs import Programs

LOG = "pitr.log"
ACCESS, NAMES = "pitr_hba.conf", "pitr_ident.conf"
# Beyond that a socket's path does not fit into the kernel's address.
LONGEST_FOLDER = 80
LAST_LINES = 6
SEVERE = re.compile(r"(?:FATAL|PANIC|ERROR):  (.*)")
# What the server had must be there again before its log can be replayed.
CAPACITIES = {
    "max_connections": "max_connections setting",
    "max_worker_processes": "max_worker_processes setting",
    "max_wal_senders": "max_wal_senders setting",
    "max_prepared_transactions": "max_prepared_xacts setting",
    "max_locks_per_transaction": "max_locks_per_xact setting",
}
# Nothing of the old server's ties: it archives nowhere, waits for nobody, subscribes to nothing.
APART = {
    "listen_addresses": "127.0.0.1",
    "archive_mode": "off",
    "synchronous_standby_names": "",
    "primary_conninfo": "",
    "primary_slot_name": "",
    "max_logical_replication_workers": "0",
    "hot_standby": "off",
    "ssl": "off",
    "external_pid_file": "",
    "logging_collector": "off",
    "log_destination": "stderr",
    "cluster_name": "pitr",
    "recovery_target_action": "promote",
}
TARGETS = [f"recovery_target{each}" for each in ("", "_time", "_lsn", "_name", "_xid")]


@dataclass(frozen=True)
class Recovered:
    """Where a recovery ended; `at` is the last transaction's end, None when none was replayed."""

    position: int
    at: datetime | None
    timeline: int


def settings(folder: Path, port: int, recovery: Mapping[str, str]) -> dict[str, str]:
    """Return the server's settings, which win over those it had."""
    own = {
        "port": str(port),
        "data_directory": str(folder),
        "unix_socket_directories": str(folder),
        "hba_file": str(folder / ACCESS),
        "ident_file": str(folder / NAMES),
    }
    # A target from an earlier recovery would be one too many, and so would one that is unset
    # after ours is set: PostgreSQL takes these in order.
    unset = {name: "" for name in TARGETS if name not in recovery}
    return APART | own | unset | dict(recovery)


def prepare(folder: Path, user: str, account: Account) -> None:
    """Write who may sign in: us by the socket, others by the passwords of that time."""
    access = "local all all peer map=pitr\nhost all all 127.0.0.1/32 scram-sha-256\n"
    name = pwd.getpwuid(os.geteuid()).pw_name
    for file, text in ((ACCESS, access), (NAMES, f'pitr "{name}" "{user}"\n')):
        (folder / file).write_text(text, encoding="utf-8")
        (folder / file).chmod(0o600)
        account.own(folder / file)
    for file in ("postgresql.conf", "postgresql.auto.conf"):
        # Debian keeps the former elsewhere.
        if not (folder / file).exists():
            (folder / file).touch(mode=0o600)
            account.own(folder / file)


def capacities(folder: Path, programs: Programs, account: Account) -> dict[str, str]:
    shown = run([programs.path("pg_controldata"), folder], account=account)
    lines = dict(line.split(":", 1) for line in shown.splitlines() if ":" in line)
    return {name: lines[label].strip() for name, label in CAPACITIES.items()}


def launch(
    folder: Path, programs: Programs, account: Account, options: Mapping[str, str]
) -> psutil.Process:
    """Start the server; it runs on when we end."""
    command: list[str | Path] = [programs.path("postgres"), "-D", folder]
    for name, value in options.items():
        command += ["-c", f"{name}={value}"]
    return processes.launch(Home(folder, account), command, folder / LOG)


def wait(process: psutil.Process, folder: Path, port: int, user: str) -> Recovered:
    """Wait until the recovery has ended, however long; raise `ProgramError` when the server gave up."""
    while processes.is_alive(process):
        try:
            with psycopg.connect(
                host=str(folder), port=port, user=user, dbname="postgres", connect_timeout=5
            ) as connection:
                return _recovered(connection)
        except psycopg.OperationalError as exc:
            if "authentication" in str(exc):
                raise ProgramError(
                    f"The server is restored and runs, but {user} cannot sign in: see "
                    f"{folder / LOG}."
                ) from None
            time.sleep(0.05)
    raise ProgramError(f"The restored server gave up: {_said(folder / LOG)}")


def command_line(verb: str, folder: Path, programs: Programs, account: Account) -> str:
    """Return how somebody does a verb of `pg_ctl` to the server of a folder.

    `restart` starts one that does not run, with the settings it was started with.
    """
    words = [*_as(account), str(programs.path("pg_ctl")), verb, "-D", str(folder)]
    return join([*words, "-l", str(folder / LOG)] if verb == "restart" else words)


def stop(folder: Path) -> None:
    """Stop the server of a folder, if one runs."""
    if process := processes.find("postgres", str(folder)):
        processes.terminate(process, (signal.SIGINT, 10.0), (signal.SIGQUIT, 10.0))


def _as(account: Account) -> list[str]:
    """Return what goes before a command line when we are root, as whom PostgreSQL refuses to run."""
    if account.uid is None:
        return []
    try:
        return ["runuser", "-u", pwd.getpwuid(account.uid).pw_name, "--"]
    except KeyError:
        # Not everybody has a name.
        return ["setpriv", f"--reuid={account.uid}", f"--regid={account.gid}", "--clear-groups"]


def _recovered(connection: psycopg.Connection[tuple[str, datetime | None, str]]) -> Recovered:
    query = """SELECT pg_last_wal_replay_lsn()::text, pg_last_xact_replay_timestamp(),
                      left(pg_walfile_name(pg_current_wal_insert_lsn()), 8)"""
    found = connection.execute(query).fetchone()
    assert found, "a SELECT without FROM has one row"
    return Recovered(parse_lsn(found[0]), found[1], int(found[2], 16))


def _said(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    severe = [found[1] for line in lines if (found := SEVERE.search(line))]
    return f"{severe[-1] if severe else ' / '.join(lines[-LAST_LINES:])} (the whole log: {log})"

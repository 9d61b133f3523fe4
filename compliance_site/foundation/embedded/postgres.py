"""The embedded PostgreSQL: make its cluster once, start, adopt, prepare and stop it."""

from __future__ import annotations

import shutil
import signal
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import psutil
import psycopg
from psycopg import sql

from compliance_site.foundation.embedded import ports, processes
from compliance_site.foundation.embedded.exceptions import PortTakenError, StartError
from compliance_site.foundation.embedded.home import Home
from compliance_site.foundation.embedded.identity import ADMIN, DATABASE, OWNER, RUNTIME, Identity

SERVICE = "PostgreSQL"
DRAFT = "initdb-"
# Generous: recovery after a crash replays the log first. A server that dies is noticed at once.
READY_SECONDS = 120.0
# Fast shutdown, then immediate.
STOP = ((signal.SIGINT, 30.0), (signal.SIGQUIT, 10.0))


class WrongPasswordError(StartError):
    """The server runs and does not accept the password in embedded.json."""


def find(home: Home) -> psutil.Process | None:
    """Find the running postmaster of our data folder."""
    return processes.find("postgres", str(home.postgres_data))


def start(home: Home, programs: Path, identity: Identity, options: Mapping[str, str]) -> None:
    """Start the server, or adopt the one that runs, and make sure of roles and database.

    `programs` is the folder of PostgreSQL's programs; `options` are server settings that win
    over the defaults. An adopted server keeps its own.
    Raise StartError, PortTakenError when only another port is needed.
    """
    _make_cluster(home, programs, identity, sync=options.get("fsync") != "off")
    process = _adopt(home, identity) or _launch(home, programs, identity, options)
    try:
        _wait_until_ready(home, identity, process)
    except WrongPasswordError:
        stop(home)
        _set_admin_password(home, programs, identity)
        _wait_until_ready(home, identity, _launch(home, programs, identity, options))
    _make_roles(identity)


def stop(home: Home) -> None:
    """Stop the server cleanly, or less so when it does not end in time."""
    if process := find(home):
        processes.terminate(process, *STOP)


def answers(url: str) -> bool:
    """Say whether one can sign in at a PostgreSQL URL."""
    try:
        with psycopg.connect(url, connect_timeout=2):
            return True
    except psycopg.OperationalError:
        return False


def _log(home: Home) -> Path:
    return home.path / "postgres.log"


def _make_cluster(home: Home, programs: Path, identity: Identity, *, sync: bool) -> None:
    """Run initdb beside the data folder and rename its result: a crash on the way leaves only a draft."""
    for draft in home.path.glob(f"{DRAFT}*"):
        shutil.rmtree(draft, ignore_errors=True)
    if home.postgres_data.exists():
        return
    draft = Path(tempfile.mkdtemp(prefix=DRAFT, dir=home.path))
    home.account.own(draft)
    try:
        password_file = draft / "password"
        password_file.touch(mode=0o600)
        home.account.own(password_file)
        password_file.write_text(identity.admin_password, encoding="ascii")
        command = _initdb(programs, draft / "data", password_file, sync=sync)
        if not processes.run(home, command, log=_log(home)):
            raise StartError(SERVICE, _log(home), "could not make its data folder")
        (draft / "data").rename(home.postgres_data)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _initdb(programs: Path, data: Path, password_file: Path, *, sync: bool) -> list[str | Path]:
    return [
        programs / "initdb",
        f"--pgdata={data}",
        f"--username={ADMIN}",
        f"--pwfile={password_file}",
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        # PostgreSQL's own C.UTF-8: it knows Unicode, and sorts alike on every machine, where
        # a system's locale may be missing or change with its libc.
        "--locale=C",
        "--locale-provider=builtin",
        "--builtin-locale=C.UTF-8",
        "--data-checksums",
        "--sync-method=fsync" if sync else "--no-sync",
    ]


def _adopt(home: Home, identity: Identity) -> psutil.Process | None:
    """Return the running server. One on a port that embedded.json no longer names is stopped first."""
    process = find(home)
    if process and f"port={identity.postgres_port}" in process.cmdline():
        return process
    stop(home)
    return None


def _launch(
    home: Home, programs: Path, identity: Identity, options: Mapping[str, str]
) -> psutil.Process:
    _recover(home)
    settings = {
        "listen_addresses": ports.HOST,
        "port": str(identity.postgres_port),
        "unix_socket_directories": "",
        # Shown in the titles of all its processes, where _recover() looks for it.
        "cluster_name": home.name,
        # A slot that nobody reads any more costs its reader the log, and not this machine its disk.
        "max_slot_wal_keep_size": "4GB",
    } | dict(options)
    command: list[str | Path] = [programs / "postgres", "-D", home.postgres_data]
    for name, value in settings.items():
        command += ["-c", f"{name}={value}"]
    return processes.launch(home, command, _log(home))


def _recover(home: Home) -> None:
    """Clear what a killed server left that would keep a new one from starting.

    Its backends notice its end by themselves, but may hold its shared memory for a moment.
    PostgreSQL removes a stale pid file itself, except when the pid is in use again: it
    cannot tell that the process is not a server. We can: find() saw none.
    """
    leftovers = processes.find_titled(f"postgres: {home.name}: ")
    if not processes.wait_until_gone(leftovers, 10):
        for leftover in leftovers:
            processes.terminate(leftover)
    (home.postgres_data / "postmaster.pid").unlink(missing_ok=True)


def _wait_until_ready(home: Home, identity: Identity, process: psutil.Process) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        try:
            with psycopg.connect(identity.postgres_url(ADMIN, "postgres"), connect_timeout=5):
                return
        except psycopg.OperationalError as exc:
            if "password authentication failed" in str(exc) and processes.is_alive(process):
                raise WrongPasswordError(
                    SERVICE, _log(home), "refuses the password in embedded.json"
                ) from exc
        if not processes.is_alive(process):
            taken = not ports.is_free(identity.postgres_port)
            raise (PortTakenError if taken else StartError)(SERVICE, _log(home))
        time.sleep(0.05)
    raise StartError(SERVICE, _log(home), f"was not ready after {READY_SECONDS:.0f} s")


def _set_admin_password(home: Home, programs: Path, identity: Identity) -> None:
    """Write the password into a stopped cluster whose embedded.json was lost.

    Whoever owns the data folder may do so anyway; without it the data would be out of reach.
    """
    _recover(home)
    processes.run(
        home,
        [programs / "postgres", "--single", "-D", home.postgres_data, "postgres"],
        text=f"ALTER ROLE {ADMIN} PASSWORD '{identity.admin_password}'\n",
    )


def _make_roles(identity: Identity) -> None:
    """Make the owner, the runtime role and the database, unless one can sign in as both already."""
    if all(answers(identity.postgres_url(role)) for role in (OWNER, RUNTIME)):
        return
    with psycopg.connect(identity.postgres_url(ADMIN, "postgres"), autocommit=True) as admin:
        for role, password in (
            (OWNER, identity.owner_password),
            (RUNTIME, identity.runtime_password),
        ):
            _make_role(admin, role, password)
        if not admin.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone():
            admin.execute(
                sql.SQL("CREATE DATABASE {} OWNER {}").format(
                    sql.Identifier(DATABASE), sql.Identifier(OWNER)
                )
            )
        admin.execute(
            sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(
                sql.Identifier(DATABASE), sql.Identifier(RUNTIME)
            )
        )


def _make_role(admin: psycopg.Connection[tuple[object, ...]], role: str, password: str) -> None:
    # Hashed here: a failed statement is logged with its text.
    verifier = admin.pgconn.encrypt_password(
        password.encode(), role.encode(), b"scram-sha-256"
    ).decode()
    exists = admin.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone()
    admin.execute(
        sql.SQL(
            "{} ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD {}"
        ).format(
            sql.SQL("ALTER" if exists else "CREATE"), sql.Identifier(role), sql.Literal(verifier)
        )
    )

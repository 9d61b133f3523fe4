"""Start, stop and share the embedded services of one checkout.

Two locks keep processes out of each other's way. `embedded.start.lock` is held alone while
services start or stop. `embedded.users.lock` is held together by all processes that use
them: who leaves and then gets it alone was the last, and stops them. The kernel drops both
when a process is killed; its services run on until the next user adopts them.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from compliance_site.foundation.embedded import identity as identities
from compliance_site.foundation.embedded import ports, postgres, valkey
from compliance_site.foundation.embedded.binaries import Binaries, install
from compliance_site.foundation.embedded.exceptions import EmbeddedError, PortTakenError
from compliance_site.foundation.embedded.home import Home, find_home, locate, make_home
from compliance_site.foundation.embedded.identity import Endpoints, Identity
from compliance_site.foundation.embedded.locks import exclusive, open_lock, try_exclusive

START_LOCK = "embedded.start.lock"
USERS_LOCK = "embedded.users.lock"
ATTEMPTS = 5
NO_OPTIONS: Mapping[str, str] = {}


@dataclass(frozen=True)
class Status:
    """Where the services are, and whether both answer there."""

    endpoints: Endpoints
    running: bool


@contextmanager
def running(
    var: Path, *, postgres_options: Mapping[str, str] = NO_OPTIONS, binaries: Path | None = None
) -> Iterator[Endpoints]:
    """Use the services: the first user starts them, the last one to leave stops them.

    `postgres_options` are server settings for a server that this call starts; `binaries` is a
    folder for the unpacked programs when several `var/` are to share one. Raise EmbeddedError.
    """
    users = open_lock(var / USERS_LOCK)
    try:
        with exclusive(var / START_LOCK):
            fcntl.flock(users, fcntl.LOCK_SH)
            endpoints = _start(var, postgres_options, binaries)
        yield endpoints
    finally:
        _leave(var, users)


def start(
    var: Path, *, postgres_options: Mapping[str, str] = NO_OPTIONS, binaries: Path | None = None
) -> Endpoints:
    """Start the services, or adopt those that run, and leave them running. See `running`."""
    with exclusive(var / START_LOCK):
        return _start(var, postgres_options, binaries)


def stop(var: Path) -> None:
    """Stop the services, whoever uses them; nothing happens when none runs."""
    with exclusive(var / START_LOCK):
        _stop(var)


def remove(var: Path) -> None:
    """Stop the services and delete all they hold, wherever it lies, ports and passwords included."""
    with exclusive(var / START_LOCK):
        _stop(var)
        for inside in (True, False):
            shutil.rmtree(locate(var, inside=inside), ignore_errors=True)
        (var / identities.FILE).unlink(missing_ok=True)


def status(var: Path) -> Status:
    """Look whether both services answer, starting nothing."""
    endpoints = identities.endpoints(var)
    return Status(endpoints, running=answer(endpoints.database_url, endpoints.redis_url))


def answer(database_url: str, redis_url: str) -> bool:
    """Say whether both servers, embedded or not, let one sign in at these URLs."""
    return postgres.answers(database_url) and valkey.answers(redis_url)


def postgres_programs(var: Path, *, binaries: Path | None = None) -> Path:
    """Return the folder with `pg_dump`, `pg_basebackup` and the other programs, unpacked if need be."""
    with exclusive(var / START_LOCK):
        return install(binaries or make_home(var).path).postgres


def _leave(var: Path, users: int) -> None:
    try:
        with exclusive(var / START_LOCK):
            if try_exclusive(users):
                _stop(var)
    finally:
        os.close(users)


def _start(var: Path, options: Mapping[str, str], binaries: Path | None) -> Endpoints:
    try:
        home = make_home(var)
        return _start_on_usable_ports(var, home, install(binaries or home.path), options)
    except PermissionError as exc:
        raise EmbeddedError(
            f"{exc.filename}: {exc.strerror}. Does it belong to another user?"
        ) from exc


def _start_on_usable_ports(
    var: Path, home: Home, programs: Binaries, options: Mapping[str, str]
) -> Endpoints:
    for attempt in range(1, ATTEMPTS + 1):
        identity = _with_usable_ports(var, home)
        try:
            postgres.start(home, programs.postgres, identity, options)
            valkey.start(home, programs.valkey, identity)
        except PortTakenError:
            if attempt == ATTEMPTS:
                raise
        else:
            return identity.endpoints()
    raise AssertionError("the last attempt returns or raises")


def _with_usable_ports(var: Path, home: Home) -> Identity:
    """Move a service that does not run away from a port that somebody else has taken."""
    usable = identity = identities.load(var)
    if not postgres.find(home) and not ports.is_free(usable.postgres_port):
        usable = replace(usable, postgres_port=ports.choose(without=frozenset({usable.redis_port})))
    if not valkey.find(home) and not ports.is_free(usable.redis_port):
        usable = replace(usable, redis_port=ports.choose(without=frozenset({usable.postgres_port})))
    if usable != identity:
        identities.save(var, usable)
    return usable


def _stop(var: Path) -> None:
    if home := find_home(var):
        valkey.stop(home)
        postgres.stop(home)

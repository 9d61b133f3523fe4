"""The databases that are backed up: the console's own, and what `BACKUP_DATABASES` names.

Each is reached as a role that may read everything in it, and, for a restore, make and rename
databases: an administrator of its server. A process that only shows them has
`BACKUP_DATABASE_NAMES` instead, and no administrator's password.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

import psycopg
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import connections

from compliance_site.foundation.env import postgresql_database
from compliance_site.foundation.secret_text import SecretText
from recovery import connection_failures
from recovery.exceptions import ConfigurationError, ServerAwayError, UnknownDatabaseError

CONSOLE = "console"
# Names become names of folders and files.
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
CONNECT_SECONDS = 10


@dataclass(frozen=True)
class Database:
    """A database by the name that people give it; `dbname` is what its server calls it."""

    name: str
    dbname: str
    host: str
    port: int
    user: str
    password: SecretText
    # What else the URL says: sslmode, sslrootcert and the like, by libpq's names.
    options: tuple[tuple[str, str], ...] = ()

    @property
    def is_console(self) -> bool:
        return self.name == CONSOLE

    @property
    def is_known_by_name_only(self) -> bool:
        return not self.host

    def on(self, dbname: str) -> Database:
        """Return another database of the same server."""
        return replace(self, dbname=dbname)

    def connect(self, **options: Any) -> psycopg.Connection[Any]:
        """Open a connection in autocommit; raise `ServerAwayError` without the driver's text."""
        if self.is_known_by_name_only:
            raise ServerAwayError(
                f"{self.name}: this process knows its name only; those with BACKUP_DATABASES in "
                "their environment reach its server."
            )
        given = {"autocommit": True, "connect_timeout": CONNECT_SECONDS} | dict(self.options)
        try:
            return psycopg.connect(**self.parameters(self.password.reveal()), **given | options)
        except psycopg.OperationalError as exc:
            raise ServerAwayError(
                f"{self.name}: no connection to {self.host}:{self.port} as {self.user} "
                f"to {self.dbname}: {connection_failures.words(exc)}."
            ) from None

    def parameters(self, password: str) -> dict[str, Any]:
        return {
            "host": self.host,
            "port": self.port,
            "user": self.user,
            "password": password,
            "dbname": self.dbname,
        }

    @cached_property
    def server_version(self) -> int:
        """Return the server's version as it counts them: 180006 for 18.6."""
        with self.connect() as connection:
            return connection.info.server_version


def databases() -> dict[str, Database]:
    """Return every configured database by its name; raise `ConfigurationError`."""
    urls = _named()
    _refuse_other_names(urls)
    by_name = {name: _by_name(name) for name in settings.BACKUP_DATABASE_NAMES if name != CONSOLE}
    reached = {name: _from_url(name, url, "BACKUP_DATABASES") for name, url in urls.items()}
    return {CONSOLE: _console()} | by_name | reached


def database(name: str) -> Database:
    """Return one; raise `UnknownDatabaseError` naming the nearest."""
    known = databases()
    if name not in known:
        nearest = get_close_matches(name, known, 1)
        hint = f" Did you mean {nearest[0]}?" if nearest else f" There are: {', '.join(known)}."
        raise UnknownDatabaseError(f"No database of this name is configured.{hint}")
    return known[name]


def typed(command: str, name: str) -> str:
    """Return how a command ("wal_archive run") is typed for a database, marked as code."""
    program, verb = command.split()
    # Before the verb, where every one of these commands takes it.
    of = "" if name == CONSOLE else f" --database {name}"
    return f"`manage.py {program}{of} {verb}`"


def _console() -> Database:
    url = settings.DATABASE_ADMIN_URL or settings.DATABASE_OWNER_URL or settings.DATABASE_URL
    # The name that Django uses, which is another one under test.
    return _from_url(CONSOLE, url, "DATABASE_ADMIN_URL").on(
        connections["default"].settings_dict["NAME"]
    )


def _named() -> Mapping[str, str]:
    """Parse `name=url` pairs separated by blanks; an error names the pair by its place."""
    named: dict[str, str] = {}
    for place, pair in enumerate(settings.BACKUP_DATABASES.split(), 1):
        name, sign, url = pair.partition("=")
        if not sign or not NAME.fullmatch(name) or name == CONSOLE or name in named:
            raise ConfigurationError(
                f"BACKUP_DATABASES: entry {place} must read name=postgresql://..., the name of "
                f"small letters, digits, - and _, used once and not {CONSOLE}."
            )
        named[name] = url
    return named


def _refuse_other_names(urls: Mapping[str, str]) -> None:
    """Have both variables, where a process has both, name the same: one was forgotten otherwise."""
    names = set(settings.BACKUP_DATABASE_NAMES)
    if not all(NAME.fullmatch(name) for name in names):
        raise ConfigurationError(
            "BACKUP_DATABASE_NAMES: names are of small letters, digits, - and _, separated by "
            "commas."
        )
    if names and urls and (different := (names - {CONSOLE}) ^ urls.keys()):
        raise ConfigurationError(
            "BACKUP_DATABASES and BACKUP_DATABASE_NAMES must name the same databases; only one of "
            f"them has {', '.join(sorted(different))}."
        )


def _by_name(name: str) -> Database:
    return Database(name, dbname=name, host="", port=0, user="", password=SecretText(""))


def _from_url(name: str, url: str, variable: str) -> Database:
    try:
        parts = postgresql_database(url, name=f"{variable} ({name})")
    except ImproperlyConfigured as exc:
        raise ConfigurationError(str(exc)) from None
    if not urlsplit(url).hostname:
        raise ConfigurationError(f"{variable} ({name}): the URL needs a host.")
    return Database(
        name=name,
        dbname=parts["NAME"],
        host=parts["HOST"],
        port=parts["PORT"],
        user=parts["USER"],
        password=SecretText(parts["PASSWORD"]),
        options=tuple(sorted(parts["OPTIONS"].items())),
    )

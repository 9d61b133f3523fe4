"""A database beside the live one: made as the backup's was, filled, given its rights, dropped."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
from psycopg import errors, sql
from psycopg.conninfo import make_conninfo

from recovery import programs
from recovery.backups import watch
from recovery.backups.manifest import DatabaseFacts
from recovery.backups.progress import size_text, time_text
from recovery.databases import Database
from recovery.exceptions import ProgramError, RefusedError
from recovery.restore.swap import maintenance

# Called with a sentence on how far it is.
type Say = Callable[[str], None]

JOBS = "2"
POLL_SECONDS = 0.2
SAY_EVERY_SECONDS = 5.0
# The first major version that knows each kind of collation provider.
PROVIDERS = {"c": ("libc", 0), "i": ("icu", 15), "b": ("builtin", 17)}
LOCALE_OPTION = {"i": "ICU_LOCALE", "b": "BUILTIN_LOCALE"}


def make(database: Database, facts: DatabaseFacts) -> None:
    """Make the empty database, which only administrators enter; raise `RefusedError`."""
    name = sql.Identifier(database.dbname)
    statement = sql.SQL("CREATE DATABASE {} TEMPLATE template0 {}").format(
        name, locale(facts, maintenance(database).server_version // 10_000)
    )
    with maintenance(database).connect() as connection:
        try:
            connection.execute(statement)
            connection.execute(sql.SQL("REVOKE CONNECT ON DATABASE {} FROM PUBLIC").format(name))
        except errors.InsufficientPrivilege:
            raise RefusedError(
                f"{database.user} may not make databases on this server: it needs CREATEDB "
                "(for the console's own database, DATABASE_ADMIN_URL names it)."
            ) from None
        except psycopg.Error as exc:
            raise RefusedError(
                f"The server does not make a database of encoding {facts.encoding} with the "
                f"backup's collation {facts.locale} ({exc.sqlstate})."
            ) from None


def load(database: Database, dump: Path, *, with_rights: bool, size: int, say: Say) -> None:
    """Fill the database from a dump's folder; raise `ProgramError` at the first mistake in it.

    Without rights all belongs to the administrator; `size` is what the contents will take.
    """
    restore = programs.programs_for(database.server_version).path("pg_restore")
    command: list[str | Path] = [restore, "--exit-on-error", "--no-password", "--jobs", JOBS]
    if not with_rights:
        # What belongs to roles that are not here; a subscription would begin to replicate.
        command += ["--no-owner", "--no-privileges", "--no-subscriptions"]
    command += ["--format", "directory", "--dbname", make_conninfo(dbname=database.dbname), dump]
    with tempfile.TemporaryFile() as stderr:
        process = programs.start_leashed(command, database, stderr, stdout=subprocess.DEVNULL)
        try:
            _wait(process, database, size, say)
        finally:
            watch.end(process)
        if process.returncode != 0:
            raise programs.complaint("pg_restore", process.returncode, stderr)


def analyze(database: Database) -> None:
    """Give the planner its statistics, without which the first hours would be slow."""
    with database.connect() as connection:
        try:
            connection.execute("ANALYZE")
        except psycopg.Error as exc:
            raise ProgramError(f"ANALYZE failed on the restored tables ({exc.sqlstate}).") from None


def drop(database: Database) -> None:
    """Drop the database, ending its sessions; one that is not there is no error."""
    statement = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
    with maintenance(database).connect() as connection:
        try:
            connection.execute(statement.format(sql.Identifier(database.dbname)))
        except psycopg.Error as exc:
            raise RefusedError(
                f"Database {database.dbname} cannot be dropped ({exc.sqlstate}): a prepared "
                "transaction, a replication slot or a subscription holds it. Drop it by hand."
            ) from None


def size_of(database: Database) -> int:
    """Return the bytes that the database takes."""
    with maintenance(database).connect() as connection:
        row = connection.execute("SELECT pg_database_size(%s)", [database.dbname]).fetchone()
        return int(row[0]) if row else 0


def _wait(process: subprocess.Popen[bytes], database: Database, size: int, say: Say) -> None:
    started = said = time.monotonic()
    while process.poll() is None:
        time.sleep(POLL_SECONDS)
        if time.monotonic() - said < SAY_EVERY_SECONDS:
            continue
        said = time.monotonic()
        done = size_of(database)
        left = (size - done) * (said - started) / done if 0 < done < size else 0
        say(f"Loaded {size_text(done)} of about {size_text(size)}, {time_text(left)} left.")


def locale(facts: DatabaseFacts, major: int) -> sql.Composable:
    """Return the options that give a database encoding and collation, as this server spells them."""
    provider = facts.locale.get("provider", "c")
    word, since = PROVIDERS.get(provider, ("", 999))
    if major < since:
        raise RefusedError(
            f"The backup's database sorts by provider {word or provider}, which PostgreSQL "
            f"{major} does not know."
        )
    options = {
        "ENCODING": facts.encoding,
        "LC_COLLATE": facts.locale["collate"],
        "LC_CTYPE": facts.locale["ctype"],
    }
    if provider in LOCALE_OPTION:
        options |= {"LOCALE_PROVIDER": word, LOCALE_OPTION[provider]: facts.locale["locale"]}
    if facts.locale.get("rules"):
        options["ICU_RULES"] = facts.locale["rules"]
    return sql.SQL(" ").join(
        sql.SQL("{} = {}").format(sql.SQL(name), sql.Literal(value))
        for name, value in options.items()
    )

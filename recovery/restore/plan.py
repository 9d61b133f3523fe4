"""What a restore would do, and what speaks against it: looked at, nothing changed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import psycopg
from django.conf import settings

from compliance_site.foundation.embedded.locks import make_folder
from recovery import programs
from recovery.backups import contents, snapshot
from recovery.backups.manifest import Manifest
from recovery.backups.progress import size_text, time_text
from recovery.backups.source import Source
from recovery.databases import Database
from recovery.exceptions import RecoveryError, RefusedError, ServerAwayError
from recovery.restore import beside, own_database, rows, swap
from recovery.restore.copies import FILE, fault
from recovery.restore.rows import Changes

LOCAL = {"127.0.0.1", "::1", "localhost", ""}
# A restored database is smaller than the live one was, or as large.
SPARE_RATIO = 1.1
OWN_RIGHTS = """
SELECT rolsuper, rolcreatedb AND pg_has_role('pg_signal_backend', 'USAGE')
FROM pg_roles WHERE rolname = current_user
"""
# Nothing for a role that may not know it.
DATA_FOLDER = "SELECT setting FROM pg_settings WHERE name = 'data_directory'"
ROLES = "SELECT rolname FROM pg_roles WHERE rolname = ANY(%s)"
EXTENSIONS = """
SELECT name, version FROM pg_available_extension_versions WHERE name = ANY(%s)
"""
SESSIONS = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND backend_type = 'client backend'"
)
SLOTS = "SELECT slot_name FROM pg_replication_slots WHERE database = %s ORDER BY 1 LIMIT 10"
SUBSCRIPTIONS = """
SELECT subname FROM pg_subscription s JOIN pg_database d ON d.oid = subdbid
WHERE datname = %s ORDER BY 1 LIMIT 10
"""


class Level(StrEnum):
    OK = "ok"
    # It can be done; somebody has to accept it.
    WARNING = "warning"
    REFUSAL = "refusal"


@dataclass(frozen=True)
class Finding:
    subject: str
    level: Level
    text: str


@dataclass(frozen=True)
class Plan:
    """`findings` decide; `rows` are what changes, None where there is nothing to compare with."""

    database: str
    backup_id: str
    taken_at: datetime
    findings: tuple[Finding, ...]
    course: tuple[str, ...]
    rows: Changes | None = None

    @property
    def exit_code(self) -> int:
        """Return 0 when all is well, 1 with warnings, 2 when it cannot be done."""
        levels = {finding.level for finding in self.findings}
        return 2 if Level.REFUSAL in levels else int(Level.WARNING in levels)

    @property
    def is_refused(self) -> bool:
        return self.exit_code == 2

    @property
    def steps(self) -> tuple[str, ...]:
        """Say what would be done, in order; nothing where it cannot be."""
        return () if self.is_refused else self.course

    def refuse(self, what: str = "This backup cannot be restored now") -> None:
        """Raise `RefusedError` with every refusal."""
        reasons = [each.text for each in self.findings if each.level is Level.REFUSAL]
        if reasons:
            raise RefusedError(f"{what}: {' '.join(reasons)}")


def make(database: Database, source: Source, now: datetime | None = None) -> Plan:
    """Look at everything; raise `ServerAwayError` when the server cannot be asked."""
    manifest = source.manifest
    try:
        findings = tuple(_findings(database, source, now or datetime.now(UTC)))
    except psycopg.OperationalError:
        raise ServerAwayError(
            f"{database.name}: the server went away while it was asked."
        ) from None
    steps = _steps(database, manifest)
    return Plan(database.name, manifest.id, manifest.taken_at, findings, steps)


def _findings(database: Database, source: Source, now: datetime) -> Iterator[Finding]:
    manifest = source.manifest
    with swap.maintenance(database).connect() as connection:
        is_there = database.dbname in swap.numbers(database)
        yield from stored(source)
        yield from _server(database, manifest)
        yield from _rights(database, connection)
        yield from _roles(manifest, connection)
        yield from _extensions(manifest, connection)
        yield from _collation(database, manifest)
        yield from _disk(database, manifest, connection)
        yield from live(database, connection) if is_there else _nothing_there(database)
    yield from _lost(database, manifest, now, is_there=is_there)
    if database.is_console:
        yield from _master_keys(manifest)


def with_rows(made: Plan, database: Database, manifest: Manifest) -> Plan:
    """Add which tables would have more or fewer rows; the count takes some seconds at most."""
    if made.is_refused or database.dbname not in swap.numbers(database):
        return made
    return replace(made, rows=rows.changes(database, rows.of_manifest(manifest)))


def missing_roles(manifest: Manifest, connection: psycopg.Connection[Any]) -> list[str]:
    """Return the roles that own or may do something in the backup and are not on the server."""
    wanted = {manifest.facts.owner, *manifest.facts.roles}
    there = {name for (name,) in connection.execute(ROLES, [sorted(wanted)])}
    return sorted(wanted - there)


def stored(source: Source) -> Iterator[Finding]:
    """Say of every stored copy whether it is there and opens."""
    try:
        faults = [fault(source, store) for store in source.copies()]
    except RecoveryError as exc:
        yield Finding(FILE, Level.REFUSAL, str(exc))
        return
    if not all(faults):
        yield Finding(FILE, Level.OK, "The backup is there, and the encryption key opens it.")
    level = Level.REFUSAL if all(faults) else Level.WARNING
    yield from (Finding(each.subject, level, each.text) for each in faults if each)


def _server(database: Database, manifest: Manifest) -> Iterator[Finding]:
    there = swap.maintenance(database).server_version // 10_000
    then = manifest.facts.server_version // 10_000
    if there < then:
        text = f"The backup is of PostgreSQL {then}; the server is {there}, which is older."
        yield Finding("server", Level.REFUSAL, text)
    elif there > then:
        text = f"The backup is of PostgreSQL {then} and is restored into {there}, a newer one."
        yield Finding("server", Level.WARNING, text)
    else:
        yield Finding("server", Level.OK, f"PostgreSQL {there}, as the backup.")
    try:
        programs.programs_for(swap.maintenance(database).server_version).path("pg_restore")
    except RecoveryError as exc:
        yield Finding("programs", Level.REFUSAL, str(exc))


def _rights(database: Database, connection: psycopg.Connection[Any]) -> Iterator[Finding]:
    row = connection.execute(OWN_RIGHTS).fetchone()
    is_superuser, is_enough = row or (False, False)
    if is_superuser:
        yield Finding("rights", Level.OK, f"{database.user} is a superuser of the server.")
    elif is_enough:
        text = f"{database.user} is no superuser: sessions of superusers would stop the swap."
        yield Finding("rights", Level.WARNING, text)
    else:
        text = (
            f"{database.user} may not make databases and end sessions: it must be a superuser "
            "(DATABASE_ADMIN_URL for the console's own database)."
        )
        yield Finding("rights", Level.REFUSAL, text)


def _roles(manifest: Manifest, connection: psycopg.Connection[Any]) -> Iterator[Finding]:
    if missing := missing_roles(manifest, connection):
        text = (
            f"Roles are missing on the server: {', '.join(missing)}. Make them first; "
            "globals.sql in the backup has their definitions."
        )
        yield Finding("roles", Level.REFUSAL, text)


def _extensions(manifest: Manifest, connection: psycopg.Connection[Any]) -> Iterator[Finding]:
    wanted = manifest.facts.extensions
    available = connection.execute(EXTENSIONS, [sorted(wanted)]).fetchall()
    names = {name for name, _ in available}
    if missing := sorted(wanted.keys() - names):
        text = f"Extensions are not installed on the server: {', '.join(missing)}."
        yield Finding("extensions", Level.REFUSAL, text)
    for name in sorted(wanted.keys() & names):
        if (name, wanted[name]) not in available:
            text = f"Extension {name} {wanted[name]} is not on the server; its own version is used."
            yield Finding("extensions", Level.WARNING, text)


def _collation(database: Database, manifest: Manifest) -> Iterator[Finding]:
    try:
        beside.locale(manifest.facts, swap.maintenance(database).server_version // 10_000)
    except RefusedError as exc:
        yield Finding("collation", Level.REFUSAL, str(exc))


def _disk(
    database: Database, manifest: Manifest, connection: psycopg.Connection[Any]
) -> Iterator[Finding]:
    try:
        make_folder(settings.RECOVERY_FOLDER)
        contents.require_room(settings.RECOVERY_FOLDER, manifest.size)
    except (OSError, RefusedError) as exc:
        yield Finding("disk", Level.REFUSAL, str(exc))
    need = round(manifest.facts.size_bytes * SPARE_RATIO)
    row = connection.execute(DATA_FOLDER).fetchone()
    free = _free(row[0]) if row and database.host in LOCAL else None
    if free is None:
        text = f"The server needs about {size_text(need)} more; how much it has is not known here."
        yield Finding("disk", Level.OK, text)
    elif free < need:
        text = f"The server has {size_text(free)} free and needs about {size_text(need)} more."
        yield Finding("disk", Level.REFUSAL, text)


def _free(folder: str) -> int | None:
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None


def live(database: Database, connection: psycopg.Connection[Any]) -> Iterator[Finding]:
    """Say what there is about the live database that matters when its name is taken away."""
    row = connection.execute(SESSIONS, [database.dbname]).fetchone()
    if row and row[0]:
        said = (
            "1 session is open and ends" if row[0] == 1 else f"{row[0]} sessions are open and end"
        )
        yield Finding("sessions", Level.OK, f"{said} at the swap.")
    if found := swap.prepared(database):
        text = (
            f"Prepared transactions hold {database.dbname}: {', '.join(found)}. "
            "COMMIT PREPARED or ROLLBACK PREPARED each of them first."
        )
        yield Finding("prepared", Level.REFUSAL, text)
    held = "Logical replication slots stay with the old database and go on holding its log back"
    filled = "Subscriptions go on filling the old database"
    for subject, query, what in (
        ("slots", SLOTS, held),
        ("subscriptions", SUBSCRIPTIONS, filled),
    ):
        names = [name for (name,) in connection.execute(query, [database.dbname])]
        if names:
            yield Finding(subject, Level.WARNING, f"{what}: {', '.join(names)}.")


def _nothing_there(database: Database) -> Iterator[Finding]:
    text = f"There is no database {database.dbname} on the server; the restored one takes the name."
    yield Finding("sessions", Level.OK, text)


def _lost(
    database: Database, manifest: Manifest, now: datetime, *, is_there: bool
) -> Iterator[Finding]:
    age = time_text((now - manifest.taken_at).total_seconds())
    since = f"{manifest.taken_at:%Y-%m-%d %H:%M:%S} UTC, {age} before this plan"
    kept = "; the database that is replaced keeps it" if is_there else ""
    text = f"What was written since {since}, will be missing{kept}."
    if database.is_console and is_there:
        text += f" {own_database.lost_entries(database, manifest)}"
    yield Finding("loss", Level.OK, text)


def _master_keys(manifest: Manifest) -> Iterator[Finding]:
    if complaint := own_database.keys_complaint(manifest.master_keys):
        yield Finding("master keys", Level.REFUSAL, complaint)


def _steps(database: Database, manifest: Manifest) -> tuple[str, ...]:
    steps = [
        f"unpack {manifest.id} ({size_text(manifest.size)}) and check every byte of it",
        f"restore it beside {database.dbname}, which goes on serving",
        f"compare {len(snapshot.only_tables(manifest.tables))} tables with the manifest",
        f"rename both at once; sessions on {database.dbname} are ended and may connect again",
        f"keep the old one as {database.dbname}_before_...: `manage.py restore undo` puts it back",
    ]
    if database.is_console:
        steps[3] += "; web pages answer 503 meanwhile"
        steps.append("then `manage.py migrate`, if the backup is of an older release")
    return tuple(steps)

"""What the console's own database needs around its restore, and what is found in it after."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC
from typing import Any

import psycopg
from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection, connections
from django.db.migrations.loader import MigrationLoader
from psycopg import errors, sql

from audit.capture.recording import record
from audit.ledger import partitions
from audit.models import Action, AuditLog
from compliance_site.foundation import maintenance, master_key, rewrap
from compliance_site.foundation.database import grant_runtime_rights
from compliance_site.foundation.master_key import EnvelopeError
from recovery.backups import attempts, catalogue
from recovery.backups.manifest import Manifest
from recovery.databases import Database
from recovery.exceptions import RecoveryError, RefusedError
from recovery.models import BackupState
from recovery.restore.state import Restore

logger = logging.getLogger(__name__)

APPLIED = "SELECT app, name FROM django_migrations"
NEWER = "SELECT count(*), max(created_at) FROM audit_log WHERE created_at > %s"
KEYS = "SELECT DISTINCT key_id FROM {}"
MIGRATE = "The backup is of an older release: run `manage.py migrate` now."


@contextmanager
def in_maintenance(database: Database) -> Iterator[None]:
    """Hold the console in maintenance while its own database is replaced; others need none."""
    try:
        with maintenance.begin() if database.is_console else nullcontext():
            if database.is_console:
                # Ours would be ended with all others.
                connections.close_all()
            yield
    except OSError as exc:
        raise RecoveryError(f"RECOVERY_FOLDER cannot be written: {exc.strerror}.") from None


def look_at(restored: Database) -> tuple[str, ...]:
    """Look at the restored database before it is the console's; return what has to follow.

    Raise `RefusedError` for one of a newer release, or with secrets that no key at hand opens.
    """
    with restored.connect() as session:
        applied = _applied(session)
        if complaint := keys_complaint(_sealed_under(session)):
            raise RefusedError(complaint)
    ours = set(MigrationLoader(None, ignore_no_migrations=True).disk_migrations)
    apps = {app for app, _ in ours}
    if newer := sorted(f"{app}.{name}" for app, name in applied - ours if app in apps):
        raise RefusedError(
            f"The backup is of a newer release of the console: it has {newer[0]}. "
            "Restore it with that release."
        )
    return (MIGRATE,) if ours - applied else ()


def keys_complaint(key_ids: Iterable[str]) -> str:
    """Say which of these master keys are not at hand, "" when all are."""
    missing = sorted(key_id for key_id in key_ids if not _is_known(key_id))
    if not missing:
        return ""
    return (
        f"Secrets in the backup are under master keys that are not at hand: {', '.join(missing)}. "
        "Put them behind the current one in COMPLIANCE_MASTER_KEY."
    )


def lost_entries(database: Database, manifest: Manifest) -> str:
    """Say how many audit entries a database has that the backup has not."""
    try:
        with database.connect() as connection:
            row = connection.execute(NEWER, [manifest.taken_at]).fetchone()
    except (psycopg.Error, RecoveryError):
        return "How many audit entries that are cannot be told."
    count, newest = row or (0, None)
    ending = f", the newest of {newest.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if newest else ""
    return f"{count} entries of the audit log are newer than the backup{ending}."


def settle(restore: Restore, lost: str) -> tuple[str, ...]:
    """Make the restored database usable, check its secrets and record the event in it.

    Return what a person has to do; what fails here is such a note, for the database is live.
    """
    notes = [*_granted(), *_secrets(), *listed()]
    try:
        partitions.make_ahead()
        if not AuditLog.objects.filter(
            action=Action.RESTORE, details__contains=restore.id
        ).exists():
            record_event(restore, lost=lost)
    except DatabaseError as exc:
        cause = type(exc).__name__
        notes.append(f"The restore is not in the audit log ({cause}); record it after migrating.")
    return tuple(notes)


def tell(restore: Restore, **details: object) -> None:
    """Record an event; a console that is away is a line in the log, for the restore has ended."""
    try:
        record_event(restore, **details)
    except (DatabaseError, InterfaceError) as exc:
        cause = type(exc).__name__
        logger.warning("Restore %s is not in the audit log (%s).", restore.id, cause)


def record_event(restore: Restore, **details: object) -> None:
    """Record who restored what, in the console's database as it is now."""
    record(
        Action.RESTORE,
        resource=f"/backups/{restore.backup_id}",
        details={
            "restore": restore.id,
            "database": restore.database,
            "takenAt": restore.taken_at,
            "keptAs": restore.before if restore.live_oid else "",
            "by": restore.actor,
        }
        | _request(restore)
        | details,
    )


def _request(restore: Restore) -> dict[str, object]:
    """Return who asked and why; whoever brings it to its end may be somebody else."""
    if restore.asked is None:
        return {}
    return {
        "restoreRequest": restore.asked.request,
        "requestedBy": restore.asked.requester,
        "approvedBy": restore.asked.decider,
        "reason": restore.asked.reason,
    }


def _is_known(key_id: str) -> bool:
    try:
        master_key.find(key_id)
    except EnvelopeError:
        return False
    return True


def _applied(session: psycopg.Connection[Any]) -> set[tuple[str, str]]:
    try:
        return set(session.execute(APPLIED).fetchall())
    except errors.UndefinedTable:
        raise RefusedError("The backup holds no database of the console.") from None


def _sealed_under(session: psycopg.Connection[Any]) -> set[str]:
    """Return the master keys of all sealed rows; an older release has fewer tables."""
    found: set[str] = set()
    for model in rewrap.sealed_models():
        table = model._meta.db_table
        if session.execute("SELECT to_regclass(%s)", [table]).fetchone() == (None,):
            continue
        rows = session.execute(sql.SQL(KEYS).format(sql.Identifier(table)))
        found |= {key_id for (key_id,) in rows}
    return found


def _granted() -> Iterator[str]:
    runtime, owner = (settings.DATABASES[alias]["USER"] for alias in ("default", "owner"))
    if runtime == owner:
        return
    try:
        grant_runtime_rights(runtime)
    except DatabaseError as exc:
        cause = type(exc).__name__
        yield f"The runtime role was not given its rights ({cause}): run `manage.py migrate`."


def listed() -> Iterator[str]:
    """Enter the backups that are younger than a table of them that is live again."""
    try:
        # Such a table has backups that retention removed since, which are not missing.
        yield from catalogue.refresh(absent=BackupState.REMOVED)
        # And its own backup as it was while it was made: under way.
        attempts.close_dead()
    except (DatabaseError, InterfaceError, RecoveryError) as exc:
        cause = type(exc).__name__
        yield f"The list of backups is as old as the backup ({cause}): run `manage.py backup list`."


def _secrets() -> Iterator[str]:
    """Open every sealed row; say how many do not open."""
    for model in rewrap.sealed_models():
        closed = 0
        try:
            for row in model._base_manager.select_related().iterator():
                closed += not _opens(row)
        except DatabaseError:
            # A table that the older release does not have, or has otherwise.
            connection.close_if_unusable_or_obsolete()
        if closed:
            yield f"{closed} rows of {model._meta.db_table} do not open with the keys at hand."


def _opens(row: Any) -> bool:
    try:
        row.unseal()
    except EnvelopeError:
        return False
    return True

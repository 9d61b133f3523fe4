"""The one place where entries reach the database, by one of two ways.

`write` inserts in the caller's transaction: an event exists if and only if the change it
tells of does. `commit` hands a request's entry to the process's group writer and returns
once it is durable; `announce` does so with its intent.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence

from django.conf import settings
from django.db import connection

from audit.capture.group_commit import GroupWriter
from audit.capture.log_store import LogStore
from audit.capture.outage import Outage
from audit.capture.spool import Spool
from audit.ledger import partitions
from audit.models import AuditLog, Intent

_guard = threading.Lock()
_writer: GroupWriter | None = None


def write(logs: Sequence[AuditLog]) -> None:
    """Insert the entries in one statement and set their ids.

    Raise `django.db.DatabaseError` when the database does not take them.
    """
    partitions.ensure(log.created_at for log in logs)
    AuditLog.objects.bulk_create(logs)


def commit(log: AuditLog) -> None:
    """Make a request's entry durable; raise `UnrecordedError` when that is not possible.

    Inside a transaction (a test's, or a server that wraps requests in one) the entry is
    inserted there.
    """
    if connection.in_atomic_block:
        write([log])
    else:
        group_writer().commit(log)


def announce(intent: Intent) -> None:
    """Commit a request's intent; raise `UnrecordedError` when the database is away.

    Inside a transaction the intent is inserted there.
    """
    if connection.in_atomic_block:
        intent.save(force_insert=True)
    else:
        group_writer().announce(intent)


def start() -> None:
    """Start this process's writer before its first entry, so that it replays a spool."""
    group_writer().start()


def group_writer() -> GroupWriter:
    """Return this process's writer, making it when there is none yet."""
    global _writer
    with _guard:
        if _writer is None:
            store = LogStore(settings.AUDIT_COMMIT_SECONDS)
            _writer = GroupWriter(store, _outage(store))
        return _writer


def replay_spool() -> int:
    """Replay what dead processes left in the spool; return how many entries that were.

    Raise `psycopg.Error` or `OSError` when the database does not take them.
    """
    store = LogStore(settings.AUDIT_COMMIT_SECONDS)
    outage = _outage(store)
    try:
        return outage.replay()
    finally:
        outage.close()
        store.close()


def _outage(store: LogStore) -> Outage:
    spool = Spool(settings.AUDIT_SPOOL, settings.AUDIT_SPOOL_MB * 1024 * 1024)
    return Outage(store, spool, fail_closed=settings.AUDIT_FAIL_CLOSED)


def close() -> None:
    """Write what waits and give connection and spool up; the next entry starts anew."""
    global _writer
    with _guard:
        writer, _writer = _writer, None
    if writer is not None:
        writer.close()


def _after_fork() -> None:
    """Leave thread, connection and spool to the parent process."""
    global _writer, _guard
    _writer, _guard = None, threading.Lock()


os.register_at_fork(after_in_child=_after_fork)

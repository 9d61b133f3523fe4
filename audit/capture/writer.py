"""The one place where entries reach the database.

Part of the request path: `write` returns only once the entries are committed (or, inside a
caller's transaction, will be committed with it).
"""

from __future__ import annotations

from collections.abc import Sequence

from audit.ledger import partitions
from audit.models import AuditLog


def write(logs: Sequence[AuditLog]) -> None:
    """Insert the entries in one statement and set their ids.

    Raise `django.db.DatabaseError` when the database does not take them.
    """
    for moment in {log.created_at.replace(day=1) for log in logs}:
        partitions.ensure(moment)
    AuditLog.objects.bulk_create(logs)

"""Entries as rows of PostgreSQL's COPY text format, and as lines of the spool."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from audit.models import AuditLog

FIELDS = tuple(field.attname for field in AuditLog._meta.concrete_fields if not field.primary_key)
COPY = f"COPY audit_log ({', '.join(FIELDS)}) FROM STDIN"
MOMENTS = ("created_at", "occurred_at")

# COPY's text format: tab and newline separate, a backslash escapes.
ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def copy_block(logs: Sequence[AuditLog]) -> bytes:
    """Return all rows as one block, which is cheaper than a call for each row."""
    return "".join(_row(log) for log in logs).encode()


def _row(log: AuditLog) -> str:
    values = log.__dict__
    return "\t".join([_field(values[name]) for name in FIELDS]) + "\n"


def _field(value: Any) -> str:
    if value is None:
        return "\\N"
    if isinstance(value, str):
        # Nearly every text passes both tests, which cost far less than a translation.
        is_plain = value.isprintable() and "\\" not in value
        return value if is_plain else value.translate(ESCAPES)
    return value.isoformat() if isinstance(value, datetime) else str(value)


def spool_line(log: AuditLog) -> bytes:
    values = {name: log.__dict__[name] for name in FIELDS}
    return json.dumps(values, default=datetime.isoformat, separators=(",", ":")).encode()


def from_spool_line(line: bytes) -> AuditLog:
    """Restore an entry; raise `ValueError`, `KeyError` or `TypeError` for what is none."""
    values = json.loads(line)
    for name in MOMENTS:
        if values[name] is not None:
            values[name] = datetime.fromisoformat(values[name])
    return AuditLog(**values)

"""System checks: a runtime role that could change the record is reported."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import apps
from django.core.checks import CheckMessage, Error, Tags, register
from django.db import connections

E001 = (
    "The role of DATABASE_URL owns {table} or may change it, so it can rewrite the audit log.",
    "Run `manage.py provision_database` and set DATABASE_OWNER_URL to the owner's URL.",
)
MAY_CHANGE = """
SELECT to_regclass(%s) IS NOT NULL AND (
    pg_has_role(current_user, relowner, 'MEMBER')
    OR has_table_privilege(oid, 'UPDATE, DELETE, TRUNCATE, TRIGGER')
) FROM pg_class WHERE oid = to_regclass(%s)
"""


@register(Tags.database)
def runtime_role_cannot_change_the_log(
    databases: Sequence[str] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    if not databases or "default" not in databases:
        return []
    tables = apps.get_app_config("audit").append_only_tables  # type: ignore[attr-defined]
    return [
        Error(E001[0].format(table=table), hint=E001[1], id="audit.E001")
        for table in tables
        if _may_change(table)
    ]


def _may_change(table: str) -> bool:
    with connections["default"].cursor() as cursor:
        cursor.execute(MAY_CHANGE, [table, table])
        row = cursor.fetchone()
    return bool(row and row[0])

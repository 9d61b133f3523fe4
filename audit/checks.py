"""System checks: a runtime role that could change the record is reported."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import apps
from django.core.checks import CheckMessage, Error, Tags, register
from django.core.exceptions import ImproperlyConfigured
from django.db import connections

from audit.capture import policy
from audit.capture.redaction.configured import configured_redactor

E001 = (
    "The role of DATABASE_URL owns {table} or may change it, so it can rewrite the audit log.",
    "Run `manage.py provision_database` and set DATABASE_OWNER_URL to the owner's URL.",
)
E003_HINT = "The rules are described in audit/capture/policy.py."
E002_HINT = "See AUDIT_REDACTION_* in .env.example."
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


@register()
def policy_is_understood(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[CheckMessage]:
    """Report audit.E003 for each mistake in `AUDIT_POLICY`."""
    return [Error(problem, hint=E003_HINT, id="audit.E003") for problem in policy.problems()]


@register()
def redaction_is_configured(**kwargs: Any) -> list[CheckMessage]:
    """Report audit.E002 for a rule or key of redaction that cannot be used."""
    try:
        configured_redactor()
    except ImproperlyConfigured as exc:
        return [Error(str(exc), hint=E002_HINT, id="audit.E002")]
    return []

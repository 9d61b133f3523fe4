"""Two database roles: an owner that migrates, and a runtime role that cannot change the record.

Apps declare what the runtime role may only add to (`append_only_tables` on their
`AppConfig`) and which functions of the owner it may call (`runtime_functions`); everything
else it may read and write, and nothing it may alter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

import psycopg
from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, transaction
from psycopg import sql

# Ordinary tables of the schema; partitions are reached through their parent only.
TABLES = """
SELECT relname FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
  AND pg_get_userbyid(relowner) = current_user
"""
# Whoever could name an id could take one that is not used yet; the sequence decides.
INSERTABLE_COLUMNS = """
SELECT attname FROM pg_attribute
LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped
  AND coalesce(pg_get_expr(adbin, adrelid), '') NOT LIKE 'nextval(%%'
"""
NEVER_WRITTEN = frozenset({"django_migrations"})


@dataclass(frozen=True)
class Role:
    """A database role and its password, as a URL names them."""

    name: str
    password: str

    @classmethod
    def of(cls, url: str) -> Role:
        parts = urlsplit(url)
        return cls(unquote(parts.username or ""), unquote(parts.password or ""))

    def __repr__(self) -> str:
        return f"Role(name={self.name!r})"


def grant_runtime_rights(runtime_role: str) -> None:
    """Give the runtime role exactly its rights on what the owner has; run after migrating."""
    role = sql.Identifier(runtime_role)
    append_only = _declared("append_only_tables")
    with transaction.atomic(using="owner"), connections["owner"].cursor() as cursor:
        cursor.execute(TABLES)
        for (table,) in cursor.fetchall():
            name = sql.Identifier(table)
            _run(cursor, "REVOKE ALL ON {} FROM {}", name, role)
            _run(cursor, "GRANT SELECT ON {} TO {}", name, role)
            if table in append_only:
                _grant_insert(cursor, table, role)
            elif table not in NEVER_WRITTEN:
                _run(cursor, "GRANT INSERT, UPDATE, DELETE ON {} TO {}", name, role)
        # USAGE draws the next number; UPDATE, which could set a sequence back, is not given.
        _run(cursor, "GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {}", role)
        for function in _declared("runtime_functions"):
            _run(cursor, "GRANT EXECUTE ON FUNCTION {} TO {}", sql.SQL(function), role)


def provision(admin_url: str, *, owner: Role, runtime: Role, database: str) -> None:
    """Make roles and database on a server, given an administrator's URL; safe to run again.

    Raise `psycopg.Error` when the server refuses.
    """
    with psycopg.connect(admin_url, autocommit=True) as connection:
        for role in (owner, runtime):
            _make_login(connection, role)
        # PostgreSQL 16+ lets a role give away only what it may become itself.
        _execute(connection, "GRANT {} TO CURRENT_USER", sql.Identifier(owner.name))
        exists = connection.execute("SELECT FROM pg_database WHERE datname = %s", [database])
        if exists.fetchone() is None:
            _execute(
                connection,
                "CREATE DATABASE {} OWNER {}",
                sql.Identifier(database),
                sql.Identifier(owner.name),
            )
        _execute(
            connection,
            "GRANT CONNECT ON DATABASE {} TO {}",
            sql.Identifier(database),
            sql.Identifier(runtime.name),
        )
    with psycopg.connect(admin_url, dbname=database, autocommit=True) as connection:
        _execute(connection, "REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        _execute(connection, "ALTER SCHEMA public OWNER TO {}", sql.Identifier(owner.name))
        _execute(connection, "GRANT USAGE ON SCHEMA public TO {}", sql.Identifier(runtime.name))


def _grant_insert(cursor: Any, table: str, role: sql.Identifier) -> None:
    cursor.execute(INSERTABLE_COLUMNS, [table])
    columns = sql.SQL(", ").join(sql.Identifier(column) for (column,) in cursor.fetchall())
    _run(cursor, "GRANT INSERT ({}) ON {} TO {}", columns, sql.Identifier(table), role)


def _make_login(connection: psycopg.Connection[Any], role: Role) -> None:
    if not role.name or not role.password:
        raise ImproperlyConfigured(
            "The owner's and the runtime role's URLs need user and password."
        )
    found = connection.execute(
        "SELECT rolsuper FROM pg_roles WHERE rolname = %s", [role.name]
    ).fetchone()
    if found and found[0]:
        raise ImproperlyConfigured(
            f"{role.name} is a superuser; the console needs roles of its own."
        )
    verb = "ALTER" if found else "CREATE"
    # Sent as a verifier made here, so that no server log ever holds the password.
    verifier = connection.pgconn.encrypt_password(
        role.password.encode(), role.name.encode(), b"scram-sha-256"
    )
    _execute(
        connection,
        verb + " ROLE {} LOGIN NOCREATEDB NOCREATEROLE PASSWORD {}",
        sql.Identifier(role.name),
        sql.Literal(verifier.decode()),
    )


def _declared(attribute: str) -> frozenset[str]:
    return frozenset(
        name for config in apps.get_app_configs() for name in getattr(config, attribute, ())
    )


def _run(cursor: Any, statement: str, *names: sql.Composable) -> None:
    # Django's cursor hands psycopg's own through.
    cursor.execute(sql.SQL(statement).format(*names))


def _execute(connection: psycopg.Connection[Any], statement: str, *names: sql.Composable) -> None:
    connection.execute(sql.SQL(statement).format(*names))

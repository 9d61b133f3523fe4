"""What belongs to a database and is in no dump of its contents: owner, rights, settings, comment."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import psycopg
from psycopg import sql

from recovery.backups.manifest import DatabaseFacts
from recovery.databases import Database
from recovery.exceptions import RefusedError
from recovery.restore.swap import maintenance

# Settings that are lists: each element is quoted by itself (`variable_is_guc_list_quote` of pg_dump).
LISTS = {
    "local_preload_libraries",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "temp_tablespaces",
    "unix_socket_directories",
}
ELEMENT = re.compile(r'\s*("(?:[^"]|"")*"|[^,]*?)\s*(?:,|$)')
PRIVILEGES = {"CREATE", "CONNECT", "TEMPORARY"}
RIGHTS = """
SELECT coalesce(r.rolname, ''), privilege_type, is_grantable
FROM aclexplode(coalesce(nullif(%s::aclitem[], '{}'), acldefault('d', %s::regrole))) a
LEFT JOIN pg_roles r ON r.oid = a.grantee
ORDER BY 1, 2
"""

type Right = tuple[str, str, bool]


def give(database: Database, facts: DatabaseFacts) -> None:
    """Give the database what the manifest says; raise `RefusedError` naming what the server refused."""
    name = sql.Identifier(database.dbname)
    with maintenance(database).connect() as connection:
        for statement in _statements(name, facts, rights(connection, facts.acl, facts.owner)):
            try:
                connection.execute(statement)
            except psycopg.Error as exc:
                words = statement.as_string(connection).split()[:3]
                raise RefusedError(
                    f"The restored database was not given its properties: {' '.join(words)} "
                    f"was refused ({exc.sqlstate})."
                ) from None


def rights(connection: psycopg.Connection[Any], acl: tuple[str, ...], owner: str) -> list[Right]:
    """Return who may do what by these aclitems, or by PostgreSQL's default; "" is everybody."""
    quoted = sql.Identifier(owner).as_string(connection)
    try:
        return connection.execute(RIGHTS, [list(acl), quoted]).fetchall()
    except psycopg.Error as exc:
        raise RefusedError(
            f"The backup's rights cannot be given: role {owner}, or one that has rights on the "
            f"database, is not on this server ({exc.sqlstate}). `globals.sql` in the backup makes it."
        ) from None


def setting_statement(name: sql.Identifier, role: str, setting: str) -> sql.Composed:
    """Return the statement that gives a database, or a role in it, a setting `name=value`."""
    variable, _, value = setting.partition("=")
    values = list(elements(value)) if variable.lower() in LISTS else [value]
    subject = sql.SQL("DATABASE {}").format(name)
    if role:
        subject = sql.SQL("ROLE {} IN DATABASE {}").format(sql.Identifier(role), name)
    return sql.SQL("ALTER {} SET {} TO {}").format(
        subject,
        sql.SQL(".").join(map(sql.Identifier, variable.split("."))),
        sql.SQL(", ").join(map(sql.Literal, values)),
    )


def elements(text: str) -> Iterator[str]:
    """Split a list as PostgreSQL stores it: `"$user", public`."""
    place = 0
    while place < len(text) and (found := ELEMENT.match(text, place)):
        word = found[1]
        yield word[1:-1].replace('""', '"') if word.startswith('"') else word
        place = found.end()


def _statements(
    name: sql.Identifier, facts: DatabaseFacts, given: list[Right]
) -> Iterator[sql.Composed]:
    owner = sql.Identifier(facts.owner)
    yield sql.SQL("ALTER DATABASE {} OWNER TO {}").format(name, owner)
    yield sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC, {}").format(name, owner)
    for grantee, privilege, is_grantable in given:
        yield sql.SQL("GRANT {} ON DATABASE {} TO {}{}").format(
            sql.SQL(privilege if privilege in PRIVILEGES else "CONNECT"),
            name,
            sql.Identifier(grantee) if grantee else sql.SQL("PUBLIC"),
            sql.SQL(" WITH GRANT OPTION" if is_grantable else ""),
        )
    yield sql.SQL("ALTER DATABASE {} CONNECTION LIMIT {}").format(
        name, sql.Literal(facts.connection_limit)
    )
    yield sql.SQL("COMMENT ON DATABASE {} IS {}").format(name, sql.Literal(facts.comment or None))
    for role, setting in facts.settings:
        yield setting_statement(name, role, setting)

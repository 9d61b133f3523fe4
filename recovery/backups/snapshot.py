"""What a database holds in one snapshot: the facts that a restore is compared with.

A table's content is a sum of 64-bit hashes over its rows, columns by name, under fixed settings:
equal rows give equal sums in any order and any database. Values of common types are hashed as they
are, which costs a third of what their text does, the others as text: the hash of an enum is that of
a number which a restore changes, and some types have none.
Left out is what a restore makes anew: materialized views, foreign tables, and what extensions own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import psycopg
from psycopg import sql

from recovery.backups.manifest import DatabaseFacts, TableFacts

# What the text of a value depends on. A row that a policy hides must be an error, not missing.
FIXED = {
    "datestyle": "ISO, MDY",
    "timezone": "UTC",
    "intervalstyle": "postgres",
    "extra_float_digits": "3",
    "bytea_output": "hex",
    "lc_monetary": "C",
    "search_path": "",
    "row_security": "off",
    "statement_timeout": "0",
    "lock_timeout": "60s",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
    "transaction_timeout": "0",
}
LARGE_OBJECTS = TableFacts("pg_catalog", "pg_largeobject", 0, "")
# A sequence's `rows`; its content is the lowest and the highest number it had given out.
SEQUENCE = -1

RELATIONS = """
    SELECT n.nspname, c.relname, c.relkind::text,
           ARRAY(SELECT ARRAY[a.attname::text, a.atttypid::regtype::text] FROM pg_attribute a
                 WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
                 ORDER BY a.attname COLLATE "C")
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'S') AND c.relpersistence <> 't'
      AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass
                      AND d.objid = c.oid AND d.deptype = 'e')
    ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"
"""
# How a column of a type is hashed; every other by its text. A collation, which may have a hash of its
# own, must not matter.
AS_IT_IS = {
    "smallint",
    "integer",
    "bigint",
    "numeric",
    "real",
    "double precision",
    "boolean",
    "date",
    "timestamp without time zone",
    "timestamp with time zone",
    "uuid",
    "bytea",
}
BY_BYTES = {"text", "character varying"}
# Sums of bytes rather than of pages: a hole in an object comes back as zeros.
OBJECT_PAGES = """
    SELECT coalesce(sum(hashtextextended(
               concat(loid, ':', pageno, ':', encode(trimmed, 'hex')) COLLATE "C", 0)), 0)::text
    FROM (SELECT loid, pageno, rtrim(data, '\\x00'::bytea) AS trimmed FROM pg_largeobject) AS page
    WHERE length(trimmed) > 0
"""
ROLES = """
    SELECT DISTINCT r.rolname::text FROM pg_roles r WHERE r.oid IN (
        SELECT s.refobjid FROM pg_shdepend s, pg_database d
        WHERE d.datname = current_database() AND s.refclassid = 'pg_authid'::regclass
          AND (s.dbid = d.oid OR (s.classid = 'pg_database'::regclass AND s.objid = d.oid))
        UNION SELECT datdba FROM pg_database WHERE datname = current_database()
        UNION SELECT setrole FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase
        WHERE d.datname = current_database())
    ORDER BY 1
"""
SETTINGS = """
    SELECT coalesce(r.rolname::text, ''), unnest(s.setconfig)
    FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase
    LEFT JOIN pg_roles r ON r.oid = s.setrole
    WHERE d.datname = current_database() ORDER BY 1, 2
"""
DATABASE = """
    SELECT to_jsonb(d), pg_get_userbyid(d.datdba)::text, pg_encoding_to_char(d.encoding)::text,
           coalesce(shobj_description(d.oid, 'pg_database'), ''), pg_database_size(d.oid)
    FROM pg_database d WHERE d.datname = current_database()
"""
# By the columns of pg_database, which differ between versions.
LOCALE = {
    "provider": ("datlocprovider",),
    "locale": ("datlocale", "daticulocale"),
    "collate": ("datcollate",),
    "ctype": ("datctype",),
    "rules": ("daticurules",),
    "version": ("datcollversion",),
}

Connection = psycopg.Connection[Any]
Told = Callable[[TableFacts], None]


def fix_settings(connection: Connection) -> None:
    """Make the session's text of values the same everywhere; the other functions do it too."""
    for name, value in FIXED.items():
        # Older versions do not know each of them.
        query = "SELECT set_config(name, %s, false) FROM pg_settings WHERE lower(name) = %s"
        connection.execute(query, (value, name))


def facts(connection: Connection) -> DatabaseFacts:
    """Return what a restore has to give this database beside its contents."""
    fix_settings(connection)
    row, owner, encoding, comment, size = _one(connection, DATABASE)
    extensions = connection.execute("SELECT extname::text, extversion FROM pg_extension ORDER BY 1")
    settings = connection.execute(SETTINGS)
    return DatabaseFacts(
        server_version=connection.info.server_version,
        owner=owner,
        encoding=encoding,
        locale=_locale(row),
        settings=tuple((role, setting) for role, setting in settings),
        acl=tuple(row["datacl"] or ()),
        comment=comment,
        connection_limit=row["datconnlimit"],
        extensions=dict(extensions.fetchall()),
        roles=tuple(name for (name,) in connection.execute(ROLES)),
        size_bytes=size,
    )


def tables(
    connection: Connection, *, told: Told | None = None, workers: int = 0
) -> tuple[TableFacts, ...]:
    """Count and hash every table, sequence and large object of this database, in that order.

    `told` hears of each; the server may take so many workers of its own to a table. Inside a transaction of REPEATABLE READ it is all of one moment, but
    for sequences, which know no snapshot.
    """
    fix_settings(connection)
    query = "SELECT set_config('max_parallel_workers_per_gather', %s, false)"
    connection.execute(query, (str(workers),))
    relations = connection.execute(RELATIONS).fetchall()
    counted = []
    for relation in relations:
        counted.append(_relation(connection, *relation))
        if told:
            told(counted[-1])
    return (*counted, _large_objects(connection))


def only_tables(counted: Iterable[TableFacts]) -> tuple[TableFacts, ...]:
    """Leave the sequences and the large objects out of what was counted."""
    objects = (LARGE_OBJECTS.schema, LARGE_OBJECTS.name)
    return tuple(
        each for each in counted if each.rows != SEQUENCE and (each.schema, each.name) != objects
    )


def lock(connection: Connection) -> None:
    """Keep the tables as they are until the transaction ends, as pg_dump does.

    Without it, somebody's ALTER TABLE would stand between pg_dump and our own reading.
    """
    relations = connection.execute(RELATIONS).fetchall()
    names = [sql.Identifier(schema, name) for schema, name, kind, _ in relations if kind != "S"]
    if names:
        query = sql.SQL("LOCK TABLE {} IN ACCESS SHARE MODE")
        connection.execute(query.format(sql.SQL(", ").join(names)))


def sequences(connection: Connection) -> tuple[TableFacts, ...]:
    """Return where the sequences stand now."""
    relations = connection.execute(RELATIONS).fetchall()
    return tuple(_sequence(connection, r[0], r[1]) for r in relations if r[2] == "S")


def widened(first: Iterable[TableFacts], later: Iterable[TableFacts]) -> tuple[TableFacts, ...]:
    """Return `first` with each sequence reaching to where `later` found it."""
    reached = {(each.schema, each.name): each.content for each in later}
    return tuple(
        replace(each, content=_span(each.content, reached.get((each.schema, each.name), "")))
        if each.rows == SEQUENCE
        else each
        for each in first
    )


def differences(expected: Iterable[TableFacts], found: Iterable[TableFacts]) -> tuple[str, ...]:
    """Say in a sentence each how what was found differs from what the backup had."""
    there = {(each.schema, each.name): each for each in found}
    said = []
    for want in expected:
        got = there.pop((want.schema, want.name), None)
        if complaint := _difference(want, got):
            said.append(f"{want.schema}.{want.name}: {complaint}")
    said += [f"{schema}.{name}: it was not in the backup." for schema, name in there]
    return tuple(said)


def _difference(want: TableFacts, got: TableFacts | None) -> str:
    if got is None:
        return "it is missing."
    if SEQUENCE in (want.rows, got.rows):
        low, high = _bounds(want.content)
        inside = got.rows == want.rows and low <= _bounds(got.content)[0] <= high
        return "" if inside else f"it stands at {got.content}, not at {want.content}."
    if want.rows != got.rows:
        return f"{got.rows:,} rows instead of {want.rows:,}."
    # "" where large objects could be counted but not read.
    if want.content and got.content and want.content != got.content:
        return "the number of rows is right, their contents differ."
    return ""


def _relation(
    connection: Connection, schema: str, name: str, kind: str, columns: list[tuple[str, str]]
) -> TableFacts:
    if kind == "S":
        return _sequence(connection, schema, name)
    # By name: an inherited column may stand elsewhere in a restored table. ONLY: children, and
    # partitions, are counted as tables of their own.
    row = sql.SQL(", ").join(_hashed(*column) for column in columns)
    query = sql.SQL(
        "SELECT count(*), coalesce(sum(hash_record_extended(ROW({}), 0)), 0)::text "
        'FROM ONLY {} AS "row"'
    ).format(row, sql.Identifier(schema, name))
    rows, content = _one(connection, query)
    return TableFacts(schema, name, rows, content)


def _hashed(column: str, kind: str) -> sql.Composable:
    value = sql.Identifier("row", column)
    if kind in AS_IT_IS:
        return value
    pattern = '{} COLLATE "C"' if kind in BY_BYTES else '{}::text COLLATE "C"'
    return sql.SQL(pattern).format(value)


def _sequence(connection: Connection, schema: str, name: str) -> TableFacts:
    query = sql.SQL(
        "SELECT CASE WHEN s.is_called THEN s.last_value ELSE s.last_value - p.seqincrement END "
        "FROM {} AS s, pg_sequence AS p WHERE p.seqrelid = %s::regclass"
    ).format(sql.Identifier(schema, name))
    qualified = sql.Identifier(schema, name).as_string(connection)
    (given,) = _one(connection, query, (qualified,))
    return TableFacts(schema, name, SEQUENCE, _span(str(given), str(given)))


def _large_objects(connection: Connection) -> TableFacts:
    (count,) = _one(connection, "SELECT count(*) FROM pg_largeobject_metadata")
    query = "SELECT has_table_privilege('pg_largeobject', 'SELECT')"
    (is_readable,) = _one(connection, query)
    content = _one(connection, OBJECT_PAGES)[0] if is_readable else ""
    return replace(LARGE_OBJECTS, rows=count, content=content)


def _locale(row: dict[str, Any]) -> dict[str, str]:
    found = {
        name: next((row[column] for column in columns if row.get(column)), "")
        for name, columns in LOCALE.items()
    }
    return {name: value for name, value in found.items() if value}


def _span(*contents: str) -> str:
    numbers = [number for content in contents if content for number in _bounds(content)]
    return f"{min(numbers)}..{max(numbers)}"


def _bounds(content: str) -> tuple[int, int]:
    low, _, high = content.partition("..")
    return int(low), int(high or low)


def _one(connection: Connection, query: Any, parameters: tuple[Any, ...] = ()) -> tuple[Any, ...]:
    row = connection.execute(query, parameters or None).fetchone()
    assert row, "an aggregate, or a row that is there"
    return tuple(row)

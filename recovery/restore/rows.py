"""Which tables would have more or fewer rows after a restore, or after its undo.

Tables are counted, the small ones first, for as long as there is time; the others are estimated
by what the server knows of them. Rows that were changed in place are not seen.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import psycopg
from psycopg import sql

from compliance_site.foundation.deadline import deadline
from recovery.backups.manifest import Manifest
from recovery.backups.snapshot import LARGE_OBJECTS, SEQUENCE
from recovery.databases import Database
from recovery.exceptions import ServerAwayError

MOST_NAMED = 10
COUNTING_SECONDS = 4.0
# After these the socket is shut: a frozen server keeps no time.
LONGEST_SECONDS = 6.0
LOCK_TIMEOUT = "200ms"
# An estimate this near to the other number says nothing.
NEAR = 0.02
# The tables that `snapshot.RELATIONS` has, the small ones first. Statistics are lost in a crash
# and then say 0; -1 is never analyzed.
TABLES = """
    SELECT n.nspname::text, c.relname::text,
           CASE WHEN s.n_live_tup > 0 THEN s.n_live_tup
                WHEN c.reltuples >= 0 THEN c.reltuples::bigint END
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_stat_user_tables s ON s.relid = c.oid
    WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't'
      AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass
                      AND d.objid = c.oid AND d.deptype = 'e')
    ORDER BY greatest(c.relpages, coalesce(s.n_live_tup, 0) / 100), 1, 2
"""
OBJECTS = ("pg_catalog", "pg_largeobject_metadata")
# A row that a policy hides must be an error, not missing.
SETTINGS = "SELECT set_config('lock_timeout', %s, false), set_config('row_security', 'off', false)"
TIMEOUT = "SELECT set_config('statement_timeout', %s, false)"


@dataclass(frozen=True)
class Count:
    """A table's rows; None where nobody can tell."""

    rows: int | None
    is_exact: bool = True


@dataclass(frozen=True)
class Change:
    """A table whose rows differ; `now` or `after` is None where there is no such table."""

    table: str
    now: int | None
    after: int | None
    is_estimate: bool

    @property
    def difference(self) -> int:
        return (self.after or 0) - (self.now or 0)

    @property
    def effect(self) -> str:
        """Say what becomes of the table's rows."""
        if self.after is None:
            return "the table will be gone"
        if self.now is None:
            return "the table comes back"
        number, about = abs(self.difference), "about " if self.is_estimate else ""
        comes = "comes back" if number == 1 else "come back"
        return f"{about}{number:,} {comes if self.difference > 0 else 'will be missing'}"

    @property
    def words(self) -> str:
        about = "about " if self.is_estimate else ""
        now = "no such table now" if self.now is None else f"{about}{_rows(self.now)} now"
        after = "" if self.after is None else f", {about}{self.after:,} then"
        return f"{now}{after}: {self.effect}"


@dataclass(frozen=True)
class Changes:
    """The tables that change most come first; `problem` says why it cannot be told."""

    largest: tuple[Change, ...] = ()
    more: int = 0
    estimated: int = 0
    untold: int = 0
    problem: str = ""

    @property
    def notes(self) -> tuple[str, ...]:
        """Say what the numbers do not."""
        return tuple(self._notes())

    def _notes(self) -> Iterator[str]:
        if self.problem:
            yield f"Which tables have more or fewer rows now cannot be told: {self.problem}"
            return
        if not self.largest:
            yield "No table has more or fewer rows now."
        if self.more:
            yield f"{self.more:,} more tables change."
        if self.estimated:
            yield f"{_tables(self.estimated)} estimated: small differences do not show."
        if self.untold:
            yield f"The rows of {self.untold:,} tables cannot be told."
        yield "Rows that were changed in place are not counted."


type Counts = Mapping[str, Count]


def changes(live: Database, then: Counts | Database) -> Changes:
    """Compare the live database with what takes its place, a backup's counts or a database."""
    try:
        now = count(live)
        return compare(now, count(then) if isinstance(then, Database) else then)
    except ServerAwayError as exc:
        return Changes(problem=str(exc))
    except psycopg.OperationalError:
        return Changes(problem=f"the server did not answer within {LONGEST_SECONDS:.0f} s.")


def of_manifest(manifest: Manifest) -> dict[str, Count]:
    """Return what a backup counted; sequences have no rows."""
    return {
        _name(table.schema, table.name): Count(table.rows)
        for table in manifest.tables
        if table.rows != SEQUENCE
    }


def count(database: Database) -> dict[str, Count]:
    """Return the rows of every table; raise `ServerAwayError`, or `OperationalError` when it falls silent."""
    ends_at = time.monotonic() + COUNTING_SECONDS
    with (
        database.connect() as connection,
        deadline(connection.fileno(), LONGEST_SECONDS),
    ):
        connection.execute(SETTINGS, [LOCK_TIMEOUT])
        found = [(*OBJECTS, None), *connection.execute(TABLES).fetchall()]
        return {
            _name(schema, table): _count(connection, sql.Identifier(schema, table), known, ends_at)
            for schema, table, known in found
        }


def compare(now: Counts, then: Counts) -> Changes:
    """Return how the rows change, the largest difference first."""
    known = [
        change
        for table in sorted(now.keys() | then.keys())
        if (change := _change(table, now.get(table), then.get(table)))
    ]
    known.sort(key=lambda each: -abs(each.difference))
    every = [*now.values(), *then.values()]
    return Changes(
        tuple(known[:MOST_NAMED]),
        len(known[MOST_NAMED:]),
        estimated=sum(not each.is_exact and each.rows is not None for each in every),
        untold=sum(each.rows is None for each in every),
    )


def _change(table: str, now: Count | None, then: Count | None) -> Change | None:
    """Return what changes of a table, None when nothing does, or nobody can tell."""
    there = [each for each in (now, then) if each]
    if any(each.rows is None for each in there):
        return None
    is_estimate = not all(each.is_exact for each in there)
    change = Change(table, now.rows if now else None, then.rows if then else None, is_estimate)
    if len(there) == 1:
        return change
    margin = NEAR * max(change.now or 0, change.after or 0) if is_estimate else 0
    return change if abs(change.difference) > margin else None


def _count(
    connection: psycopg.Connection[tuple[object, ...]],
    table: sql.Identifier,
    known: int | None,
    ends_at: float,
) -> Count:
    left = ends_at - time.monotonic()
    if left <= 0:
        return Count(known, is_exact=False)
    try:
        connection.execute(TIMEOUT, [f"{max(1, left * 1000):.0f}"])
        # ONLY: partitions and children are tables of their own.
        row = connection.execute(sql.SQL("SELECT count(*) FROM ONLY {}").format(table)).fetchone()
    except psycopg.Error:
        # No time left, locked, damaged, hidden, or dropped a moment ago.
        if connection.closed:
            raise
        return Count(known, is_exact=False)
    return Count(int(str(row[0]))) if row else Count(None)


def _name(schema: str, table: str) -> str:
    return "large objects" if schema == LARGE_OBJECTS.schema else f"{schema}.{table}"


def _tables(number: int) -> str:
    return "1 table is" if number == 1 else f"{number:,} tables are"


def _rows(number: int) -> str:
    return "1 row" if number == 1 else f"{number:,} rows"

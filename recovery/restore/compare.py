"""Whether a restored database is what the manifest says: rows, contents, and what it was given."""

from __future__ import annotations

from collections.abc import Iterator

from recovery.backups import snapshot
from recovery.backups.manifest import DatabaseFacts, Manifest, TableFacts
from recovery.databases import Database
from recovery.restore import properties
from recovery.restore.swap import maintenance

MOST_NAMED = 20


def differences(database: Database, manifest: Manifest, *, with_rights: bool) -> list[str]:
    """Return what differs, a sentence each, the first twenty; none when all is as it was.

    Without rights, owner, rights and settings are not compared: their roles are not here.
    """
    with database.connect() as connection:
        found = list(_of_tables(manifest.tables, snapshot.tables(connection)))
        facts = snapshot.facts(connection)
    found += _of_facts(manifest.facts, facts)
    if with_rights:
        found += _of_rights(database, manifest.facts, facts)
    if len(found) > MOST_NAMED:
        found[MOST_NAMED:] = [f"and {len(found) - MOST_NAMED} more differences"]
    return found


def _of_tables(then: tuple[TableFacts, ...], now: tuple[TableFacts, ...]) -> Iterator[str]:
    before = {(table.schema, table.name): table for table in then}
    after = {(table.schema, table.name): table for table in now}
    for key in sorted(before.keys() | after.keys()):
        name = ".".join(key)
        if key not in after:
            yield f"table {name} is missing"
        elif key not in before:
            yield f"table {name} was not in the backup"
        elif before[key].rows != after[key].rows:
            yield f"table {name} has {after[key].rows} rows instead of {before[key].rows}"
        elif before[key].content != after[key].content:
            yield f"table {name} has other contents in its {after[key].rows} rows"


def _of_facts(then: DatabaseFacts, now: DatabaseFacts) -> Iterator[str]:
    if then.encoding != now.encoding:
        yield f"the encoding is {now.encoding} instead of {then.encoding}"
    for key in ("provider", "locale", "collate", "ctype"):
        if then.locale.get(key) != now.locale.get(key):
            yield f"collation: {key} is {now.locale.get(key)} instead of {then.locale.get(key)}"
    for extension in sorted(then.extensions.keys() - now.extensions.keys()):
        yield f"extension {extension} is missing"


def _of_rights(database: Database, then: DatabaseFacts, now: DatabaseFacts) -> Iterator[str]:
    for what in ("owner", "comment", "connection_limit"):
        if getattr(then, what) != getattr(now, what):
            yield f"the {what.replace('_', ' ')} is another one"
    if sorted(then.settings) != sorted(now.settings):
        yield "the settings of the database are other ones"
    with maintenance(database).connect() as connection:
        given = [properties.rights(connection, facts.acl, facts.owner) for facts in (then, now)]
    if given[0] != given[1]:
        yield "the rights on the database are other ones"

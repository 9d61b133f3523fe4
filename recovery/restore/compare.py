"""Whether a restored database is what the manifest says: rows, contents, and what it was given."""

from __future__ import annotations

from collections.abc import Iterator

from recovery.backups import snapshot
from recovery.backups.manifest import DatabaseFacts, Manifest
from recovery.databases import Database
from recovery.restore import properties
from recovery.restore.swap import maintenance

MOST_NAMED = 20
# Nobody else is in the database that is compared.
WORKERS = 2


def differences(database: Database, manifest: Manifest, *, with_rights: bool) -> list[str]:
    """Return what differs, a sentence each, the first twenty; none when all is as it was.

    Without rights, owner, rights and settings are not compared: their roles are not here.
    """
    with database.connect() as connection:
        found = list(
            snapshot.differences(manifest.tables, snapshot.tables(connection, workers=WORKERS))
        )
        facts = snapshot.facts(connection)
    found += _of_facts(manifest.facts, facts)
    if with_rights:
        found += _of_rights(database, manifest.facts, facts)
    if len(found) > MOST_NAMED:
        found[MOST_NAMED:] = [f"and {len(found) - MOST_NAMED} more differences."]
    return found


def _of_facts(then: DatabaseFacts, now: DatabaseFacts) -> Iterator[str]:
    if then.encoding != now.encoding:
        yield f"The encoding is {now.encoding} instead of {then.encoding}."
    for key in ("provider", "locale", "collate", "ctype", "rules"):
        if then.locale.get(key) != now.locale.get(key):
            yield f"Collation: {key} is {now.locale.get(key)} instead of {then.locale.get(key)}."
    for extension in sorted(then.extensions.keys() - now.extensions.keys()):
        yield f"Extension {extension} is missing."


def _of_rights(database: Database, then: DatabaseFacts, now: DatabaseFacts) -> Iterator[str]:
    for what in ("owner", "comment", "connection_limit"):
        if getattr(then, what) != getattr(now, what):
            yield f"The {what.replace('_', ' ')} is another one."
    if sorted(then.settings) != sorted(now.without_values().settings):
        yield "The settings of the database are other ones."
    with maintenance(database).connect() as connection:
        given = [properties.rights(connection, facts.acl, facts.owner) for facts in (then, now)]
    if given[0] != given[1]:
        yield "The rights on the database are other ones."

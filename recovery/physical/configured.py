"""The engine that the settings name."""

from __future__ import annotations

import os

from django.conf import settings

from recovery.databases import CONSOLE, database, databases
from recovery.exceptions import ConfigurationError
from recovery.physical.archive import IDENTITY, Archive
from recovery.physical.builtin import BuiltIn
from recovery.physical.engine import Engine
from recovery.physical.pgbackrest import PgBackRest


def is_configured() -> bool:
    """Say whether there is an archive to go back in time with."""
    if PgBackRest.name == settings.RECOVERY_ENGINE:
        return settings.PGBACKREST_CONFIG is not None
    return settings.WAL_ARCHIVE_PATH is not None


def servers() -> list[str]:
    """Return the databases whose servers have an archive: the console's, and those begun."""
    if not is_configured():
        return []
    if PgBackRest.name == settings.RECOVERY_ENGINE:
        return [CONSOLE]
    # exists(): also where we may not look.
    begun = [name for name in databases() if os.path.exists(archive(name).folder / IDENTITY)]
    return list(dict.fromkeys([CONSOLE, *begun]))


def engine(name: str = CONSOLE) -> Engine:
    """Return the engine for the server of a configured database; raise `ConfigurationError`."""
    if PgBackRest.name == settings.RECOVERY_ENGINE:
        if settings.PGBACKREST_CONFIG is None or not settings.PGBACKREST_STANZA:
            raise ConfigurationError(
                "RECOVERY_ENGINE=pgbackrest needs PGBACKREST_CONFIG, the path of pgbackrest.conf, "
                "and PGBACKREST_STANZA."
            )
        return PgBackRest(database(name), settings.PGBACKREST_CONFIG, settings.PGBACKREST_STANZA)
    return BuiltIn(database(name), archive(name))


def archive(name: str = CONSOLE) -> Archive:
    """Return the built-in engine's archive of a server; raise `ConfigurationError`."""
    if BuiltIn.name != settings.RECOVERY_ENGINE:
        raise ConfigurationError(
            f"With RECOVERY_ENGINE={settings.RECOVERY_ENGINE} the log is archived by that program."
        )
    if settings.WAL_ARCHIVE_PATH is None:
        raise ConfigurationError(
            "WAL_ARCHIVE_PATH is not set: name the folder in which log and base backups are kept."
        )
    return Archive(settings.WAL_ARCHIVE_PATH.resolve() / database(name).name)

"""The sessions of a role: a password that is changed ends none of them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime

from secrets_rotation.exceptions import TargetUnknownError
from secrets_rotation.rotators import clock
from secrets_rotation.rotators.base import Credential, Usage
from secrets_rotation.rotators.postgresql.session import Connection

# Nothing here goes by what a session calls itself: a thief's could take any name.
# Where `backend_start` is missing we may not see it.
SESSIONS = """
FROM pg_stat_activity
WHERE usename = %(username)s
  AND leader_pid IS NULL
  AND coalesce(backend_type, 'client backend') IN ('client backend', 'walsender')
  AND (%(age)s::float8 IS NULL OR backend_start IS NULL
       OR backend_start < clock_timestamp() - make_interval(secs => %(age)s::float8))
"""
LIST = f"SELECT pid, application_name, host(client_addr), backend_start {SESSIONS}"
# All are told at once; then each is waited for.
END = f"SELECT count(pg_terminate_backend(pid)) {SESSIONS}"
WAIT = f"SELECT count(pg_terminate_backend(pid, 200)) {SESSIONS}"
END_SECONDS = 8.0


@dataclass(frozen=True)
class Sessions:
    """Sessions of a role: all, or those that began more than `age` seconds ago."""

    username: str
    age: float | None = None

    @property
    def parameters(self) -> dict[str, object]:
        return {"username": self.username, "age": self.age}


def begun_before(credential: Credential, username: str) -> Sessions:
    """Return the sessions of the time when the credential was the role's."""
    moment = credential.superseded_at
    return Sessions(username, None if moment is None else clock.seconds_since(moment))


def list_sessions(connection: Connection, sessions: Sessions) -> list[Usage]:
    """Raise `TargetUnknownError` when the administrator may not see them."""
    rows = connection.execute(LIST, sessions.parameters).fetchall()
    return [_usage(sessions.username, *row) for row in rows]


def end_sessions(connection: Connection, sessions: Sessions) -> None:
    """End the sessions and wait until they are gone; else raise `TargetUnknownError`."""
    due = time.monotonic() + END_SECONDS
    while left := list_sessions(connection, sessions):
        if time.monotonic() > due:
            raise TargetUnknownError(f"{len(left)} sessions of {sessions.username} do not end")
        connection.execute(END, sessions.parameters)
        connection.execute(WAIT, sessions.parameters)


def _usage(
    username: str, pid: int, application: str, address: str | None, since: datetime | None
) -> Usage:
    if since is None:
        raise TargetUnknownError(
            f"the administrator may not see the sessions of {username}: grant it pg_read_all_stats"
        )
    return Usage(str(pid), f"{application or 'unnamed'} from {address or 'the server'}", since)

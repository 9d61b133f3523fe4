from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from recovery.health.results import Figures, Status, Unhealthy
from recovery.health.session import READ_ONLY, Refused, Session, session

READ = "SELECT seen_at FROM recovery_health_probe"
# One message, so that nothing of ours stays open at the server should we be stopped here. With
# `local`, a commit does not wait for a standby: no timeout would end the wait for a dead one.
WRITE = """
BEGIN;
SET LOCAL synchronous_commit = local;
SET LOCAL lock_timeout = '500ms';
INSERT INTO recovery_health_probe (id, seen_at) VALUES (1, now())
ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at;
COMMIT
"""


@dataclass(frozen=True)
class Database:
    """The console's database can be read and written by the role that the console runs as.

    A connection of its own each time: those that are open would not show that none can be made.
    """

    name: ClassVar[str] = "database"
    when_silent: ClassVar[Status] = Status.UNHEALTHY

    def run(self, deadline: float) -> Figures:
        with session(deadline) as connected:
            _ask(connected, READ, "It cannot be read.")
            _ask(connected, WRITE, "It can be read but not written.")
        return {}


def _ask(connected: Session, statements: str, complaint: str) -> None:
    try:
        connected.ask(statements)
    except Refused as refused:
        if refused.sqlstate == READ_ONLY:
            complaint = "It takes no changes: it is a standby, or set to read only."
        raise Unhealthy(complaint) from None

"""One PostgreSQL role: it has one password, so the old one ends when the new one is set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from psycopg import sql

from secrets_rotation.declared import Setting
from secrets_rotation.exceptions import TargetUnknownError
from secrets_rotation.rotators.base import Answer, Credential, Guard, Rotator, Usage
from secrets_rotation.rotators.postgresql import probe, usage
from secrets_rotation.rotators.postgresql.server import (
    ADDRESS,
    SETTINGS,
    Login,
    Server,
    name_problem,
    server_problems,
)
from secrets_rotation.rotators.postgresql.session import (
    Connection,
    change,
    check_password,
    session,
    set_password,
)


class PostgresqlRole(Rotator):
    name = "postgresql_role"
    title = "PostgreSQL role"
    summary = "Changes the password of one role; what still has the old one cannot log in again."
    settings = (*SETTINGS, Setting("username", "The role that is rotated.", required=True))
    address = ADDRESS
    overlaps = False

    def __init__(self, target: Mapping[str, Any]) -> None:
        super().__init__(target)
        self._server = Server.of(target)
        self._administrator = Login(target["adminUser"], target["adminPassword"])
        self._username: str = target["username"]

    @classmethod
    def problems(cls, target: Mapping[str, Any]) -> dict[str, str]:
        problems = server_problems(target)
        if problem := name_problem(target["username"], target):
            problems["username"] = problem
        return problems

    def principal(self) -> str:
        return f"postgresql://{str(self._server).lower()}/{self._username}"

    def next_username(self, current: str) -> str:
        return self._username

    def probe(self, credential: Credential) -> Answer:
        """Log in; raise `TargetUnknownError` for a server that checks no passwords."""
        return probe.attempt(self._server, Login(self._username, credential.value))

    def set(self, pending: Credential, current: Credential | None, guard: Guard) -> None:
        check_password(pending.value)
        with self._changing(guard) as connection:
            set_password(connection, self._username, pending.value)

    def discard(self, pending: Credential, current: Credential | None, guard: Guard) -> None:
        # The password of before, which the console does not know, must not go with a first one
        # that was never set.
        if current is None and not self._is_set(pending):
            return
        with self._changing(guard) as connection:
            if current is not None:
                set_password(connection, self._username, current.value)
            else:
                connection.execute(
                    sql.SQL("ALTER ROLE {} PASSWORD NULL").format(sql.Identifier(self._username))
                )

    def in_use(self, old: Credential) -> list[Usage]:
        with session(self._server, self._administrator) as connection:
            return usage.list_sessions(connection, usage.begun_before(old, self._username))

    def revoke(self, old: Credential, current: Credential, guard: Guard) -> None:
        """End the sessions of the old password; it has been refused since the new one was set."""
        with session(self._server, self._administrator, guard) as connection:
            usage.end_sessions(connection, usage.begun_before(old, self._username))

    def _is_set(self, pending: Credential) -> bool:
        answer = self.probe(pending)
        if answer is Answer.UNKNOWN:
            raise TargetUnknownError("nobody knows whether the password was set")
        return answer is Answer.WORKS

    @contextmanager
    def _changing(self, guard: Guard) -> Iterator[Connection]:
        with (
            session(self._server, self._administrator, guard) as connection,
            change(connection, guard),
        ):
            yield connection

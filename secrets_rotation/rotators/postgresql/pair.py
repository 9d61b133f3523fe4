"""Two PostgreSQL roles that take turns: each rotation sets the idle one and leaves the other.

Both are members of a group that owns everything and become it at login (`SET ROLE`), so that
what one makes the other may use. A role that is merely a member of the other cannot do that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from secrets_rotation.declared import Setting
from secrets_rotation.exceptions import TargetUnknownError
from secrets_rotation.rotators.base import Answer, Credential, Guard, Rotator, Usage
from secrets_rotation.rotators.postgresql import probe, usage
from secrets_rotation.rotators.postgresql.pair_setup import check_setup
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
    lock_out,
    session,
    set_password,
)
from secrets_rotation.rotators.postgresql.usage import Sessions


class PostgresqlPair(Rotator):
    name = "postgresql_pair"
    title = "PostgreSQL pair of roles"
    summary = "Sets the idle one of two roles; the other goes on working until its grace ends."
    settings = (
        *SETTINGS,
        Setting("usernames", "The two roles that take turns.", list, required=True),
        Setting("group", "The role that owns everything; both are members.", required=True),
    )
    address = ADDRESS

    def __init__(self, target: Mapping[str, Any]) -> None:
        super().__init__(target)
        self._server = Server.of(target)
        self._administrator = Login(target["adminUser"], target["adminPassword"])
        self._usernames: list[str] = target["usernames"]
        self._group: str = target["group"]

    @classmethod
    def problems(cls, target: Mapping[str, Any]) -> dict[str, str]:
        problems = server_problems(target)
        usernames, group = target["usernames"], target["group"]
        found = [problem for name in usernames if (problem := name_problem(name, target))]
        if found:
            problems["usernames"] = found[0]
        elif len(usernames) != 2 or len(set(usernames)) != 2:
            problems["usernames"] = "Give two different roles."
        if problem := name_problem(group, target):
            problems["group"] = problem
        elif group in usernames:
            problems["group"] = "The group is a third role."
        return problems

    def principal(self) -> str:
        return f"postgresql://{str(self._server).lower()}/{'+'.join(sorted(self._usernames))}"

    def next_username(self, current: str) -> str:
        return next(name for name in self._usernames if name != current)

    def probe(self, credential: Credential) -> Answer:
        """Log in; raise `TargetUnknownError` for a server that checks no passwords."""
        return probe.attempt(self._server, Login(credential.username, credential.value))

    def set(self, pending: Credential, current: Credential | None, guard: Guard) -> None:
        """Raise `TargetUnknownError` too when the roles are no such pair, or both are in use."""
        self._refuse_half_in_use(pending, current)
        check_password(pending.value)
        with session(self._server, self._administrator, guard) as connection:
            check_setup(connection, self._usernames, self._group)
            _check_idle(connection, pending.username)
            with change(connection, guard):
                set_password(connection, pending.username, pending.value, options="LOGIN")

    def discard(self, pending: Credential, current: Credential | None, guard: Guard) -> None:
        self._refuse_half_in_use(pending, current)
        # A password that was never set opened no session: those of the role are somebody else's.
        if self.probe(pending) is not Answer.REFUSED:
            self._end(pending, current, guard)

    def in_use(self, old: Credential) -> list[Usage]:
        with session(self._server, self._administrator) as connection:
            return usage.list_sessions(connection, Sessions(old.username))

    def revoke(self, old: Credential, current: Credential, guard: Guard) -> None:
        self._end(old, current, guard)

    def _end(self, ending: Credential, current: Credential | None, guard: Guard) -> None:
        self._refuse_half_in_use(ending, current)
        with session(self._server, self._administrator, guard) as connection:
            with change(connection, guard):
                lock_out(connection, ending.username)
            usage.end_sessions(connection, Sessions(ending.username))

    def _refuse_half_in_use(self, other: Credential, current: Credential | None) -> None:
        if other.username not in self._usernames:
            raise TargetUnknownError(f"{other.username or 'no role'} is none of the pair")
        if current is not None and other.username == current.username:
            raise TargetUnknownError(f"{other.username} is the role in use; it stays as it is")


def _check_idle(connection: Connection, username: str) -> None:
    for other in usage.list_sessions(connection, Sessions(username)):
        # One of our own may be on its way out.
        if not other.who.startswith(probe.NAME):
            raise TargetUnknownError(f"{username} should be idle and has sessions: {other.who}")

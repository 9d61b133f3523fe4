"""Whether two roles and their group are set up as a pair that can take turns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from secrets_rotation.exceptions import TargetUnknownError
from secrets_rotation.rotators.postgresql.session import Connection

# Since version 16 a membership may leave out the right to SET ROLE.
SET_ROLE_VERSION = 160000
# What a database says for a role comes before what the role says for all of them.
ROLES = """
SELECT role.rolname, role.rolcanlogin, role.rolsuper,
       coalesce((SELECT pg_has_role(role.oid, owner.oid, %(right)s)
                 FROM pg_roles AS owner WHERE owner.rolname = %(group)s), false),
       (SELECT substr(setting, 6)
        FROM pg_db_role_setting AS configured, unnest(configured.setconfig) AS setting
        WHERE configured.setrole = role.oid AND starts_with(setting, 'role=')
          AND configured.setdatabase IN
              (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
        ORDER BY configured.setdatabase DESC LIMIT 1),
       EXISTS (SELECT FROM pg_shdepend AS owned
               WHERE owned.refclassid = 'pg_authid'::regclass
                 AND owned.refobjid = role.oid AND owned.deptype = 'o')
FROM pg_roles AS role WHERE role.rolname = ANY(%(names)s)
"""


@dataclass(frozen=True)
class Role:
    name: str
    may_log_in: bool
    is_superuser: bool
    may_become_group: bool
    becomes: str | None
    owns_something: bool

    def problems(self, group: str) -> Iterator[str]:
        if self.is_superuser:
            yield f"{self.name} is a superuser"
        if not self.may_become_group:
            yield f"{self.name} is not a member of {group}"
        if self.becomes != group:
            yield f"{self.name} does not SET ROLE {group} at login"
        if self.owns_something:
            yield f"{self.name} owns something itself"


def check_setup(connection: Connection, usernames: Sequence[str], group: str) -> None:
    """Raise `TargetUnknownError` naming everything that keeps the roles from taking turns."""
    right = "SET" if connection.info.server_version >= SET_ROLE_VERSION else "MEMBER"
    names = [*usernames, group]
    rows = connection.execute(ROLES, {"names": names, "group": group, "right": right}).fetchall()
    roles = {row[0]: Role(*row) for row in rows}
    problems = [f"there is no role {name}" for name in names if name not in roles]
    for username in usernames:
        if username in roles:
            problems += roles[username].problems(group)
    if group in roles and roles[group].may_log_in:
        problems.append(f"{group} may log in itself")
    if problems:
        raise TargetUnknownError(
            f"no pair of roles: {'; '.join(problems)} (see docs/security-officer.md)"
        )

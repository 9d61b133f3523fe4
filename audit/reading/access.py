"""Who may read the log: the one rule, for the API, the admin pages and the home page."""

from __future__ import annotations

from compliance_site.foundation.roles import AnyUser, Role, has_role

READERS = (Role.AUDITOR, Role.SECURITY_OFFICER)


def may_read_log(user: AnyUser) -> bool:
    return has_role(user, *READERS)

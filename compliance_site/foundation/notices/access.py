"""Who may see the notices that were sent."""

from __future__ import annotations

from compliance_site.foundation.roles import AnyUser, Role, has_role


def may_see_notices(user: AnyUser) -> bool:
    return has_role(user, Role.SECURITY_OFFICER, Role.OPERATOR)

"""Who may: every view names its roles, and a view that names none lets nobody in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from compliance_site.foundation.roles import PEOPLE, Role, has_role

# `Nobody` is the default of every APIView, so views cannot be imported before it.
if TYPE_CHECKING:
    from rest_framework.views import APIView


class Nobody(BasePermission):
    def has_permission(self, request: Request, view: APIView) -> bool:
        return False


def role_permission(*roles: Role) -> type[BasePermission]:
    """Return a permission that admits callers with one of the roles."""

    class HasRole(BasePermission):
        message = f"This needs the role {' or '.join(roles)}."

        def has_permission(self, request: Request, view: APIView) -> bool:
            return has_role(request.user, *roles)

    return HasRole


HasAnyRole = role_permission(*PEOPLE, Role.SERVICE)

"""The four roles, kept as Django groups.

A superuser has every role of people. Not `service`: an administrator reads the log but does
not write other systems' entries into it.
"""

from __future__ import annotations

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, Group, User
from django.db import models

AnyUser = AbstractBaseUser | AnonymousUser


class Role(models.TextChoices):
    AUDITOR = "auditor"
    SECURITY_OFFICER = "security_officer"
    OPERATOR = "operator"
    SERVICE = "service"


PEOPLE = (Role.AUDITOR, Role.SECURITY_OFFICER, Role.OPERATOR)


def make_groups() -> None:
    """Make the group of each role that is missing."""
    for role in Role:
        Group.objects.get_or_create(name=role.value)


def roles_of(user: AnyUser) -> frozenset[str]:
    """Return the names of the user's roles, read once for each user object."""
    if not isinstance(user, User) or not user.is_active:
        return frozenset()
    if user.is_superuser:
        return frozenset(PEOPLE)
    known: frozenset[str] | None = getattr(user, "_roles", None)
    if known is None:
        known = frozenset(user.groups.values_list("name", flat=True)) & frozenset(Role.values)
        user._roles = known  # type: ignore[attr-defined]
    return known


def has_role(user: AnyUser, *roles: str) -> bool:
    """Tell whether the user has one of the roles."""
    return not roles_of(user).isdisjoint(roles)

"""Accounts and API tokens of the console."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from django.contrib.auth.models import Group, User
from django.db import transaction
from knox.models import AuthToken

from compliance_site.foundation.roles import Role, make_groups

ADMIN = "admin"
TOKEN_ROLES = (*Role.values, ADMIN)


@dataclass(frozen=True)
class IssuedToken:
    """A new API token; `token` is known only here, the database keeps its hash."""

    token: str
    user: User
    made_user: bool

    def __repr__(self) -> str:
        return f"IssuedToken(user={self.user.username!r})"


@transaction.atomic
def issue_token(username: str, role: str, *, lifetime: timedelta | None = None) -> IssuedToken:
    """Give the user the role and a new token, making the user (without password) if missing.

    Raise `django.core.exceptions.ValidationError` when the name cannot be a user's.
    """
    make_groups()
    User._meta.get_field("username").clean(username, None)
    user, made_user = User.objects.get_or_create(username=username)
    if made_user:
        user.set_unusable_password()
    if role == ADMIN:
        user.is_staff = user.is_superuser = True
    else:
        user.groups.add(Group.objects.get(name=role))
    user.save()
    options = {"expiry": lifetime} if lifetime else {}
    _, token = AuthToken.objects.create(user=user, **options)
    return IssuedToken(token, user, made_user)

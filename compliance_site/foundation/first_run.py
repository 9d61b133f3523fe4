"""What a console needs before its first visitor: the groups and an administrator."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from django.contrib.auth.models import User
from django.db import transaction

from compliance_site.foundation.accounts import ADMIN
from compliance_site.foundation.roles import make_groups


@dataclass(frozen=True)
class FirstRun:
    """The administrator's name, and the password when one was made just now."""

    username: str
    generated_password: str | None = None

    def __repr__(self) -> str:
        return f"FirstRun(username={self.username!r})"


@transaction.atomic
def prepare(password: str = "") -> FirstRun:
    """Make the groups and, in a console without administrator, the account `admin`.

    Without a given password one is made, and returned this once.
    """
    make_groups()
    administrator = User.objects.filter(is_superuser=True).order_by("pk").first()
    if administrator is not None:
        return FirstRun(administrator.username)
    chosen = password or secrets.token_urlsafe(12)
    User.objects.create_superuser(ADMIN, password=chosen)
    return FirstRun(ADMIN, None if password else chosen)

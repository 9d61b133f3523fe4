"""The rotators there are, by name."""

from __future__ import annotations

import difflib

from secrets_rotation.declared import merged
from secrets_rotation.exceptions import UnknownRotatorError
from secrets_rotation.models import Secret, TargetCredential
from secrets_rotation.rotators.base import Rotator
from secrets_rotation.rotators.command_hook import CommandHook
from secrets_rotation.rotators.django_secret_key import DjangoSecretKeyRotator
from secrets_rotation.rotators.http_api import HttpApi
from secrets_rotation.rotators.master_key import MasterKeyRotator
from secrets_rotation.rotators.postgresql.pair import PostgresqlPair
from secrets_rotation.rotators.postgresql.role import PostgresqlRole
from secrets_rotation.rotators.supplied import Supplied
from secrets_rotation.rotators.valkey_acl import ValkeyAcl

# A new rotator is one line here.
CLASSES: tuple[type[Rotator], ...] = (
    CommandHook,
    DjangoSecretKeyRotator,
    HttpApi,
    MasterKeyRotator,
    PostgresqlPair,
    PostgresqlRole,
    Supplied,
    ValkeyAcl,
)
ROTATORS: dict[str, type[Rotator]] = {rotator.name: rotator for rotator in CLASSES}


def rotator_class(name: str) -> type[Rotator]:
    """Raise `UnknownRotatorError` that names the nearest one, or all."""
    if name in ROTATORS:
        return ROTATORS[name]
    near = difflib.get_close_matches(name, ROTATORS, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(ROTATORS)}."
    raise UnknownRotatorError(f"There is no rotator {name!r}; {hint}")


def generating() -> list[str]:
    """Return the names of the rotators whose values the console makes, so that a schedule can."""
    return [name for name, rotator in ROTATORS.items() if rotator.generates]


def rotator_of(secret: Secret) -> Rotator:
    """Return the secret's rotator with all its settings, the sealed ones among them.

    Raise `UnknownRotatorError`, or `EnvelopeError` when the sealed ones cannot be opened.
    """
    rotator = rotator_class(secret.rotator)
    credential = TargetCredential.objects.filter(secret=secret).first()
    sealed = credential.unseal() if credential else None
    return rotator(merged(rotator.settings, secret.target, sealed))

"""Who acts, and on whose behalf: the one context that every recorded event reads.

Middleware, tasks and `manage.py` open it; nothing guesses an actor.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from audit.capture.calls import new_id
from audit.exceptions import ActorMissingError
from compliance_site.foundation.logs import log_context

# `manage.py` opens a context before Django is set up, so no model may be imported here.
if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser, AnonymousUser


@dataclass(frozen=True)
class Actor:
    """A person, a service, a task, a command or nobody known; `type` is an `ActorType`."""

    type: str
    name: str = ""
    user_id: int | None = None


ANONYMOUS = Actor("anonymous")


@dataclass(frozen=True)
class Circumstances:
    """What all events of one request, task or command have in common.

    The actor is a function: in a request it is only known once the view authenticated.
    """

    actor: Callable[[], Actor]
    request_id: str
    ip_address: str | None = None
    user_agent: str = ""
    # Added by the code inside, put on the entry of the request when it is written.
    notes: dict[str, object] = field(default_factory=dict)
    # On every entry recorded inside.
    details: Mapping[str, object] = field(default_factory=dict)
    log_fields: Callable[[], dict[str, str]] = dict


_current: ContextVar[Circumstances | None] = ContextVar("circumstances", default=None)


def current_or_none() -> Circumstances | None:
    return _current.get()


def current() -> Circumstances:
    """Return the open circumstances, or raise `ActorMissingError`."""
    circumstances = _current.get()
    if circumstances is None:
        raise ActorMissingError(ActorMissingError.__doc__)
    return circumstances


@contextmanager
def in_circumstances(circumstances: Circumstances) -> Iterator[Circumstances]:
    """Record what happens inside under these circumstances, and log with their request id."""
    outer = _current.set(circumstances)
    outer_log = log_context.set(circumstances.log_fields)
    try:
        yield circumstances
    finally:
        _current.reset(outer)
        log_context.reset(outer_log)


@contextmanager
def acting_as(
    actor: Actor, request_id: str = "", details: Mapping[str, object] | None = None
) -> Iterator[Circumstances]:
    """Record what happens inside as done by this actor, with these details on each entry."""
    request_id = request_id or new_id()
    circumstances = Circumstances(
        actor=lambda: actor,
        request_id=request_id,
        details=details or {},
        log_fields=lambda: {"request_id": request_id, "actor": f"{actor.type} {actor.name}"},
    )
    with in_circumstances(circumstances):
        yield circumstances


def task_actor(name: str) -> Actor:
    return Actor("task", name)


def command_actor(argv: Sequence[str]) -> Actor:
    """Name a management command and the operating-system user who runs it, not its arguments."""
    command = argv[1] if len(argv) > 1 else Path(argv[0]).name
    return Actor("command", f"{system_user()}: manage.py {command}")


def system_user() -> str:
    """Name the operating-system user that the kernel knows; USER and LOGNAME can be set at will."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        # A container may run under a number that has no name.
        return f"uid {os.getuid()}"


def user_actor(user: AbstractBaseUser | AnonymousUser, *, is_service: bool = False) -> Actor:
    if user.pk is None:
        return ANONYMOUS
    return Actor("service" if is_service else "user", user.get_username(), user.pk)

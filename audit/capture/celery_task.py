"""Who did it, in tasks: what a task records says which task, and on whose behalf.

Each message carries who put it in the queue and the id of that request, command or task; a
task that enqueues others passes on for whom it works. Never arguments, never credentials.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from celery import Task
from celery.signals import before_task_publish

from audit.capture.actors import (
    Actor,
    Circumstances,
    acting_as,
    current_or_none,
    task_actor,
)
from audit.capture.calls import SANE_REQUEST_ID

HEADER = "compliance_caller"
ON_BEHALF_OF = "onBehalfOf"
LONGEST_NAME = 200


@dataclass(frozen=True)
class Caller:
    """Who wanted a task, and the id under which everything done for it is found."""

    actor: Actor
    request_id: str

    @classmethod
    def of(cls, circumstances: Circumstances) -> Caller:
        """Return the actor, or the one on whose behalf the actor, a task, works."""
        known = circumstances.details.get(ON_BEHALF_OF)
        actor = _actor(known) or circumstances.actor()
        return cls(actor, circumstances.request_id)

    @classmethod
    def from_header(cls, header: object) -> Caller | None:
        """Read a header; None for a message without one, or with one that is not ours."""
        if not isinstance(header, dict):
            return None
        request_id, actor = header.get("requestId"), _actor(header.get("actor"))
        if actor is None or not isinstance(request_id, str):
            return None
        return cls(actor, request_id) if SANE_REQUEST_ID.fullmatch(request_id) else None

    def as_header(self) -> dict[str, object]:
        return {"actor": self.details(), "requestId": self.request_id}

    def details(self) -> dict[str, object]:
        actor = self.actor
        return {"type": actor.type, "name": actor.name[:LONGEST_NAME], "userId": actor.user_id}


class AuditedTask(Task[Any, Any]):
    """The base of every task."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        caller = Caller.from_header(self.request.get(HEADER)) or _caller_here()
        request_id = caller.request_id if caller else self.request.id or ""
        details = {ON_BEHALF_OF: caller.details()} if caller else {}
        with acting_as(task_actor(self.name), request_id, details):
            return super().__call__(*args, **kwargs)


@before_task_publish.connect
def name_caller(headers: dict[str, Any] | None = None, **kwargs: Any) -> None:
    """Put who is enqueueing on the message; beat enqueues for nobody."""
    if headers is not None and (caller := _caller_here()):
        headers[HEADER] = caller.as_header()


def _caller_here() -> Caller | None:
    circumstances = current_or_none()
    return Caller.of(circumstances) if circumstances else None


def _actor(details: object) -> Actor | None:
    match details:
        case {"type": str(kind), "name": str(name), "userId": int() | None as user_id}:
            return Actor(kind[:20], name[:LONGEST_NAME], user_id)
    return None

"""What both middlewares, Django's and the one without Django, agree on about an HTTP call."""

from __future__ import annotations

import re
import uuid

SANE_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=-]{8,200}", re.ASCII)
# Any other method reads, as far as the log is concerned.
ACTION_OF_METHOD = {"POST": "CREATE", "PUT": "UPDATE", "PATCH": "UPDATE", "DELETE": "DELETE"}


def action_of(method: str) -> str:
    return ACTION_OF_METHOD.get(method, "READ")


def accepted_request_id(offered: str) -> str:
    """Return the caller's request id when it is sane, else a new one."""
    return offered if SANE_REQUEST_ID.fullmatch(offered) else new_id()


def new_id() -> str:
    """Return an id for a request or an event."""
    return uuid.uuid4().hex

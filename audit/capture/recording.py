"""Record an event: the explicit call by which everything but plain API calls enters the log."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder

from audit.capture import writer
from audit.capture.actors import Actor, Circumstances, current
from audit.capture.redaction import redact, redact_text, storable_text
from audit.models import AuditLog

# Longest text kept of each field, so that one entry stays far below 64 KB.
LONGEST = {
    "source": 100,
    "event_id": 200,
    "request_id": 200,
    "actor": 200,
    "action": 50,
    "resource": 2_000,
    "route": 2_000,
    "query": 4_000,
    "method": 20,
    "user_agent": 1_000,
    "request_data": 20_480,
    "response_data": 12_288,
    "details": 16_384,
}
# These are made of parts that were redacted each in its own way.
REDACTED_BEFORE = {"query", "request_data", "response_data", "details"}


def record(
    action: str,
    *,
    resource: str = "",
    details: Mapping[str, object] | None = None,
    actor: Actor | None = None,
    status_code: int | None = None,
    circumstances: Circumstances | None = None,
) -> AuditLog:
    """Record that the current actor did something.

    The entry is inserted on the caller's connection: inside a transaction it exists if and
    only if the change it tells of does. `details` are redacted and kept as JSON.

    Raise `ActorMissingError` outside `acting_as(...)`, a request, a task or a command.
    """
    circumstances = circumstances or current()
    log = entry(
        circumstances,
        actor=actor or circumstances.actor(),
        action=action,
        resource=resource,
        details=details_text({**circumstances.details, **(details or {})}),
        status_code=status_code,
    )
    writer.write([log])
    return log


def note(**details: object) -> None:
    """Add details to the entry of the request being served; redacted like any details."""
    current().notes.update(details)


def entry(circumstances: Circumstances, *, actor: Actor, **fields: Any) -> AuditLog:
    """Make an entry that is not written yet, every text redacted, storable and bounded."""
    values: dict[str, Any] = {
        "actor_type": actor.type,
        "user_id": actor.user_id,
        "actor": actor.name,
        "request_id": circumstances.request_id,
        "ip_address": circumstances.ip_address,
        "user_agent": circumstances.user_agent,
    } | fields
    for name, longest in LONGEST.items():
        if name in values:
            text = values[name]
            values[name] = clipped(text if name in REDACTED_BEFORE else redact_text(text), longest)
    return AuditLog(**values)


def clipped(text: str, longest: int) -> str:
    text = storable_text(text)
    return text if len(text) <= longest else text[: longest - 1] + "…"


def details_text(details: Mapping[str, object]) -> str:
    """Return the redacted details as JSON, or "" for none."""
    if not details:
        return ""
    plain = json.loads(json.dumps(details, cls=DjangoJSONEncoder))
    return json.dumps(redact(plain), ensure_ascii=False, separators=(",", ":"))

"""Take in events of other services: each is stored once, however often it is sent."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from audit.capture import writer
from audit.capture.actors import Actor, Circumstances
from audit.capture.calls import action_of, new_id
from audit.capture.recording import details_text, entry
from audit.capture.redaction import redact, redact_json_text, redact_query
from audit.models import ActorType, AuditLog

ACTION_NAME = r"^[A-Z][A-Z0-9_]{0,49}$"

# DO NOTHING waits for a concurrent sender of the same id, then leaves the row out.
CLAIM_IDS = """
INSERT INTO audit_ingested_event (source, event_id, body_hash, created_at)
SELECT source, event_id, body_hash, %s
FROM unnest(%s::text[], %s::text[], %s::bytea[]) AS claimed (source, event_id, body_hash)
ON CONFLICT DO NOTHING
RETURNING source, event_id
"""
KNOWN_HASHES = """
SELECT source, event_id, body_hash FROM audit_ingested_event
WHERE (source, event_id) IN (SELECT * FROM unnest(%s::text[], %s::text[]))
"""

Key = tuple[str, str]


class Outcome(Enum):
    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"


@dataclass(frozen=True)
class Event:
    """An event whose fields are valid; `key` is its source and id."""

    key: Key
    body_hash: bytes
    log: AuditLog


def make_event(fields: dict[str, Any], *, reporter: str, now: datetime | None = None) -> Event:
    """Make an event of validated fields, sent by the service account `reporter`.

    Source and id default to the reporter's name and a new id. `created_at` is the console's
    clock; the sender's is kept as `occurred_at`.
    """
    actor = _actor(fields)
    source = fields.get("source") or reporter
    event_id = fields.get("event_id") or new_id()
    log = entry(
        Circumstances(actor=lambda: actor, request_id=fields.get("request_id") or ""),
        actor=actor,
        created_at=now or timezone.now(),
        source=source,
        event_id=event_id,
        action=fields.get("action") or action_of(fields["method"].upper()),
        method=(fields.get("method") or "").upper(),
        resource=fields["resource"],
        route=fields.get("route") or "",
        query=redact_query(fields.get("query") or ""),
        request_data=_request_text(fields.get("request_data")),
        details=details_text({"reportedBy": reporter} if source != reporter else {}),
        ip_address=fields.get("ip_address"),
        user_agent=fields.get("user_agent") or "",
        status_code=fields.get("status_code"),
        duration_ms=fields.get("duration_ms"),
        occurred_at=fields.get("occurred_at"),
    )
    return Event((source, event_id), _hash(fields), log)


def ingest(events: Sequence[Event]) -> list[Outcome]:
    """Store the events that are new, all or none, and tell the outcome of each in order."""
    # Sorted, so that two batches with the same ids cannot wait for each other.
    first_of = {event.key: event for event in reversed(events)}
    first = sorted(first_of.values(), key=lambda event: event.key)
    with transaction.atomic():
        claimed = _claim(first)
        writer.write([event.log for event in events if _is_first(event, first_of, claimed)])
        known = _known_hashes(first_of.keys() - claimed) | {
            key: first_of[key].body_hash for key in claimed
        }
    return [
        Outcome.ACCEPTED
        if _is_first(event, first_of, claimed)
        else Outcome.DUPLICATE
        if known[event.key] == event.body_hash
        else Outcome.CONFLICT
        for event in events
    ]


def _is_first(event: Event, first_of: dict[Key, Event], claimed: set[Key]) -> bool:
    return event.key in claimed and first_of[event.key] is event


def _claim(events: Sequence[Event]) -> set[Key]:
    if not events:
        return set()
    sources, ids = zip(*(event.key for event in events), strict=True)
    hashes = [event.body_hash for event in events]
    with connection.cursor() as cursor:
        cursor.execute(CLAIM_IDS, [events[0].log.created_at, list(sources), list(ids), hashes])
        return set(cursor.fetchall())


def _known_hashes(keys: set[Key]) -> dict[Key, bytes]:
    if not keys:
        return {}
    sources, ids = zip(*keys, strict=True)
    with connection.cursor() as cursor:
        cursor.execute(KNOWN_HASHES, [list(sources), list(ids)])
        return {(source, event_id): bytes(known) for source, event_id, known in cursor.fetchall()}


def _actor(fields: dict[str, Any]) -> Actor:
    name, user_id = fields.get("actor") or "", fields.get("user_id")
    named = ActorType.USER if name or user_id else ActorType.ANONYMOUS
    return Actor(fields.get("actor_type") or named, name, user_id)


def _request_text(data: object) -> str:
    """Keep the body as text: JSON as it came, anything else as JSON; both redacted."""
    if data is None or data == "":
        return ""
    if isinstance(data, str):
        return redact_json_text(data)
    return json.dumps(redact(data), ensure_ascii=False, separators=(",", ":"))


def _hash(fields: dict[str, Any]) -> bytes:
    canonical = json.dumps(fields, sort_keys=True, default=str, separators=(",", ":"))
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).digest()

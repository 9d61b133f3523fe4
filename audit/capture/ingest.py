"""Take in events of other services: each is stored once, however often it is sent."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from audit.capture.calls import action_of, new_id
from audit.capture.copy_rows import COPY, copy_block
from audit.capture.recording import LONGEST, clipped
from audit.capture.redaction import Redactor, installed
from audit.ledger import partitions
from audit.models import ActorType, AuditLog

ACTION_NAME = r"^[A-Z][A-Z0-9_]{0,49}$"
# What the console itself records has this source; nobody else's events may.
CONSOLE = "console"
# Clocks this close agree. The skew that is noted holds the time an event waited as well.
TOLERATED_SKEW = timedelta(seconds=5)

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

# Made once: `json.dumps` would make an encoder for each event.
_canonical = json.JSONEncoder(sort_keys=True, default=str, separators=(",", ":")).encode
_compact = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class Outcome(Enum):
    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"


@dataclass(frozen=True)
class Event:
    """An event whose fields are valid; `key` is its source and id.

    Its body is hashed under the present key of redaction, then under the retired ones:
    nobody else can try what it held against what is kept of it.
    """

    key: Key
    body_hashes: tuple[bytes, ...]
    log: AuditLog


@dataclass(frozen=True)
class BatchRedactor(Redactor):
    """The installed redactor for one batch: most texts come again, and are looked at once."""

    known: dict[str, str] = field(default_factory=dict)

    @classmethod
    def installed(cls) -> BatchRedactor:
        redactor = installed()
        return cls(redactor.tagger, redactor.rules)

    def redact_text(self, text: str) -> str:
        redacted = self.known.get(text)
        if redacted is None:
            redacted = self.known[text] = super().redact_text(text)
        return redacted


def make_event(
    fields: dict[str, Any],
    *,
    reporter: str,
    now: datetime | None = None,
    redactor: BatchRedactor | None = None,
) -> Event:
    """Make an event of validated fields, sent by the service account `reporter`.

    Source and id default to the reporter's name and a new id. `created_at` is the console's
    clock; the sender's is kept as `occurred_at`. Events of one batch may share a redactor.
    """
    now, redactor = now or timezone.now(), redactor or BatchRedactor.installed()
    redacted = redactor.redact_text
    # As they are in the entry: the key is kept as well.
    source = redacted(fields.get("source") or reporter)
    event_id = redacted(fields.get("event_id") or new_id())
    log = AuditLog(
        **_caller(fields, redacted),
        created_at=now,
        source=clipped(source, LONGEST["source"]),
        event_id=clipped(event_id, LONGEST["event_id"]),
        action=fields.get("action") or action_of(fields["method"].upper()),
        method=(fields.get("method") or "").upper(),
        resource=clipped(redacted(fields["resource"]), LONGEST["resource"]),
        route=clipped(redacted(fields.get("route") or ""), LONGEST["route"]),
        query=clipped(redactor.redact_query(fields.get("query") or ""), LONGEST["query"]),
        request_data=_request_text(fields.get("request_data"), redactor),
        details=_details_text(source, reporter, fields.get("occurred_at"), now),
        status_code=fields.get("status_code"),
        duration_ms=fields.get("duration_ms"),
        occurred_at=fields.get("occurred_at"),
    )
    return Event((source, event_id), _hashes(fields, redactor), log)


def is_own_source(source: str, account: str) -> bool:
    """Tell whether the account may write under this source: its name, or one below it."""
    return account != CONSOLE and (source == account or source.startswith(f"{account}/"))


def ingest(events: Sequence[Event]) -> list[Outcome]:
    """Store the events that are new, all or none, and tell the outcome of each in order."""
    # Sorted, so that two batches with the same ids cannot wait for each other.
    first_of = {event.key: event for event in reversed(events)}
    first = sorted(first_of.values(), key=lambda event: event.key)
    # Before the transaction: inside it nothing is remembered, and each would be asked for.
    partitions.ensure(event.log.created_at for event in events)
    with transaction.atomic():
        claimed = _claim(first)
        _store([event.log for event in events if _is_first(event, first_of, claimed)])
        known = _known_hashes(first_of.keys() - claimed) | {
            key: first_of[key].body_hashes[0] for key in claimed
        }
    return [
        Outcome.ACCEPTED
        if _is_first(event, first_of, claimed)
        else Outcome.DUPLICATE
        if known[event.key] in event.body_hashes
        else Outcome.CONFLICT
        for event in events
    ]


def _store(logs: Sequence[AuditLog]) -> None:
    """Insert the entries in the open transaction; COPY takes a fraction of an INSERT's time."""
    with connection.wrap_database_errors, connection.cursor() as cursor, cursor.copy(COPY) as copy:
        copy.write(copy_block(logs))


def _is_first(event: Event, first_of: dict[Key, Event], claimed: set[Key]) -> bool:
    return event.key in claimed and first_of[event.key] is event


def _claim(events: Sequence[Event]) -> set[Key]:
    if not events:
        return set()
    sources, ids = zip(*(event.key for event in events), strict=True)
    hashes = [event.body_hashes[0] for event in events]
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


def _details_text(source: str, reporter: str, occurred_at: datetime | None, now: datetime) -> str:
    details: dict[str, object] = {"reportedBy": reporter} if source != reporter else {}
    if occurred_at and abs(skew := occurred_at - now) > TOLERATED_SKEW:
        details["clockSkewMs"] = round(skew / timedelta(milliseconds=1))
    return _compact(details) if details else ""


def _caller(fields: dict[str, Any], redacted: Callable[[str], str]) -> dict[str, Any]:
    """Return who acted and from where, as columns of the entry."""
    name, user_id = fields.get("actor") or "", fields.get("user_id")
    named = ActorType.USER if name or user_id else ActorType.ANONYMOUS
    request_id = redacted(fields.get("request_id") or "")
    return {
        "actor_type": fields.get("actor_type") or named.value,
        "user_id": user_id,
        "actor": clipped(redacted(name), LONGEST["actor"]),
        "request_id": clipped(request_id, LONGEST["request_id"]),
        "ip_address": fields.get("ip_address"),
        "user_agent": clipped(redacted(fields.get("user_agent") or ""), LONGEST["user_agent"]),
    }


def _request_text(data: object, redactor: Redactor) -> str:
    """Keep the body as text: JSON as it came, anything else as JSON; both redacted."""
    if data is None or data == "":
        return ""
    text = (
        redactor.redact_json_text(data)
        if isinstance(data, str)
        else _compact(redactor.redact(data))
    )
    return clipped(text, LONGEST["request_data"])


def _hashes(fields: dict[str, Any], redactor: Redactor) -> tuple[bytes, ...]:
    body = _canonical(fields).encode("utf-8", "surrogatepass")
    return redactor.tagger.macs(body) if redactor.tagger else (hashlib.sha256(body).digest(),)

"""An entry's public shape: the names under which its fields leave, in every format."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

# Public name: model field. The document's ten first, in its order.
SHAPE = {
    "id": "id",
    "userId": "user_id",
    "action": "action",
    "resource": "resource",
    "method": "method",
    "statusCode": "status_code",
    "ipAddress": "ip_address",
    "userAgent": "user_agent",
    "requestData": "request_data",
    "createdAt": "created_at",
    "actor": "actor",
    "actorType": "actor_type",
    "source": "source",
    "eventId": "event_id",
    "occurredAt": "occurred_at",
    "requestId": "request_id",
    "route": "route",
    "query": "query",
    "durationMs": "duration_ms",
    "responseData": "response_data",
    "responseBytes": "response_bytes",
    "details": "details",
}


def plain(value: Any) -> Any:
    """Return the value as JSON has it; moments as RFC 3339 in UTC with microseconds."""
    return timestamp(value) if isinstance(value, datetime) else value


def timestamp(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"

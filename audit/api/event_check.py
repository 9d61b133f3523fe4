"""Check events at the speed of a batch: `EventSerializer` decides, but is rarely asked.

The serializer takes longer for an event than everything else together. An event that is
plainly good is recognised here; whatever is not goes to the serializer, so that there is
one source of rules and messages. A test holds both against each other.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from rest_framework import serializers

from audit.api.event_serializer import METHOD_NAME, EventSerializer
from audit.capture.ingest import ACTION_NAME
from audit.models import ActorType

# What the serializer's text fields refuse.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_ADDRESS = serializers.IPAddressField()
_strict_json = json.JSONEncoder(allow_nan=False).encode

# Makes a field's value of the JSON, or raises `_Unsure`.
Reader = Callable[[Any], object]


class _Unsure(Exception):  # noqa: N818  says "look closer", not "this is wrong"
    """Not plainly good: the serializer decides."""


def checked(body: Any) -> dict[str, Any]:
    """Return the fields of an event under their Python names.

    Raise `rest_framework.serializers.ValidationError` naming what is wrong.
    """
    fields = plainly_good(body)
    if fields is not None:
        return fields
    serializer = EventSerializer(data=body)
    serializer.is_valid(raise_exception=True)
    validated: dict[str, Any] = serializer.validated_data
    return validated


def plainly_good(body: Any) -> dict[str, Any] | None:
    """Return what the serializer would, or None for an event that it has to look at."""
    if not isinstance(body, dict):
        return None
    fields: dict[str, Any] = {}
    try:
        for key, value in body.items():
            name, read = READERS[key]
            fields[name] = read(value)
    except (_Unsure, KeyError):
        return None
    has_action = fields.get("action") or fields.get("method")
    return fields if has_action and "resource" in fields else None


def _text(longest: int, *, blank: bool = False) -> Reader:
    def read(value: Any) -> str:
        if not isinstance(value, str) or len(value) > longest or _UNSTORABLE.search(value):
            raise _Unsure
        text = value.strip()
        if not text and not blank:
            raise _Unsure
        return text

    return read


def _matching(pattern: str) -> Reader:
    matches = re.compile(pattern).search

    def read(value: Any) -> str:
        if not isinstance(value, str) or not matches(value) or value[-1] == "\n":
            raise _Unsure
        return value

    return read


def _number(lowest: int, highest: int) -> Reader:
    def read(value: Any) -> int:
        # Not isinstance: true is an int, and not a number.
        if type(value) is not int or not lowest <= value <= highest:
            raise _Unsure
        return value

    return read


def _or_null(read: Reader) -> Reader:
    return lambda value: None if value is None else read(value)


def _moment(value: Any) -> datetime:
    try:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            raise _Unsure
        return moment.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        raise _Unsure from None


def _actor_type(value: Any) -> str:
    if not isinstance(value, str) or value not in ActorType.values:
        raise _Unsure
    return value


def _ip_address(value: Any) -> str:
    if not isinstance(value, str):
        raise _Unsure
    address = _known_address(value) if len(value) < 64 else None
    if address is None:
        raise _Unsure
    return address


@lru_cache(maxsize=4096)
def _known_address(text: str) -> str | None:
    try:
        address: str = _ADDRESS.run_validation(text)
    except serializers.ValidationError:
        return None
    return address


def _json(value: Any) -> object:
    # Text may hold anything; in the rest a number may have become infinite (1e999).
    if not isinstance(value, str | int | None):
        try:
            _strict_json(value)
        except (ValueError, RecursionError):
            raise _Unsure from None
    return value


READERS: dict[Any, tuple[str, Reader]] = {
    "id": ("event_id", _text(200)),
    "source": ("source", _text(100)),
    "occurredAt": ("occurred_at", _or_null(_moment)),
    "userId": ("user_id", _or_null(_number(1, 2**63 - 1))),
    "actor": ("actor", _or_null(_text(200, blank=True))),
    "actorType": ("actor_type", _or_null(_actor_type)),
    "action": ("action", _matching(ACTION_NAME)),
    "resource": ("resource", _text(2000)),
    "route": ("route", _or_null(_text(2000, blank=True))),
    "query": ("query", _or_null(_text(4000, blank=True))),
    "method": ("method", _or_null(_matching(METHOD_NAME))),
    "statusCode": ("status_code", _or_null(_number(100, 599))),
    "ipAddress": ("ip_address", _or_null(_ip_address)),
    "userAgent": ("user_agent", _or_null(_text(1000, blank=True))),
    "requestData": ("request_data", _json),
    "requestId": ("request_id", _or_null(_text(200, blank=True))),
    "durationMs": ("duration_ms", _or_null(_number(0, 2**31 - 1))),
}

"""What the ASGI middleware sees of one HTTP request and its answer."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, MutableMapping
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any

from audit.capture.body_copy import BodyCopy
from audit.capture.calls import accepted_request_id, action_of
from audit.capture.redaction import redact_query

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

# nginx's status for a client that left before it was answered.
CLIENT_CLOSED_REQUEST = 499
# Where the request id stands in the scope that the app gets.
REQUEST_ID = "audit.request_id"


class Exchange:
    """Stands between server and app for one request; changes nothing but one response header."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.status: int | None = None
        self.occurred_at = datetime.now(UTC)
        self._receive = receive
        self._send = send
        self._body = BodyCopy()
        # Frameworks change both as they route.
        self._path: str = scope["path"]
        self._root_path: str = scope.get("root_path", "")
        self._started = time.monotonic()
        self._finished: float | None = None
        scope[REQUEST_ID] = accepted_request_id(header(scope, b"x-request-id"))

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._body.add(message.get("body", b""))
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message = {**message, "headers": self._with_request_id(message.get("headers", ()))}
        await self._send(message)
        # Background tasks run after the last part and are not the answer's time.
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            self._finished = time.monotonic()

    def event_fields(self) -> dict[str, object]:
        """Return what is recorded of the request once the app is done with it."""
        finished = self._finished or time.monotonic()
        query = self.scope.get("query_string", b"").decode("latin-1")
        return {
            **request_fields(self.scope),
            "occurredAt": timestamp(self.occurred_at),
            "action": action_of(self.scope["method"]),
            "resource": self._path or "/",
            "route": self._route(),
            "query": redact_query(query),
            "statusCode": self.status,
            "requestData": self._body.as_request_data(header(self.scope, b"content-type")),
            "durationMs": round((finished - self._started) * 1000),
        }

    def _with_request_id(self, headers: Any) -> list[tuple[bytes, bytes]]:
        others = [(name, value) for name, value in headers if name.lower() != b"x-request-id"]
        return [*others, (b"x-request-id", self.scope[REQUEST_ID].encode("ascii"))]

    def _route(self) -> str | None:
        """Return the template that the framework left in the scope, as Starlette does."""
        route = self.scope.get("route")
        template = getattr(route, "path", None)
        if not isinstance(template, str):
            return None
        mounted_at: str = self.scope.get("root_path", "").removeprefix(self._root_path)
        # A mounted app without routes of its own: the mount is the template.
        return mounted_at + template if hasattr(route, "methods") else mounted_at


def request_fields(scope: Scope) -> dict[str, object]:
    """Return what all events of one request have in common."""
    return {
        "method": scope["method"],
        "ipAddress": _client_address(scope),
        "userAgent": header(scope, b"user-agent"),
        "requestId": scope.get(REQUEST_ID),
    }


def header(scope: Scope, wanted: bytes) -> str:
    """Return the first header of this lower-case name, "" when there is none."""
    values = (value for name, value in scope["headers"] if name.lower() == wanted)
    return str(next(values, b"").decode("latin-1"))


def timestamp(moment: datetime) -> str:
    """Write a UTC time as RFC 3339 with microseconds and `Z`."""
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _client_address(scope: Scope) -> str | None:
    host = (scope.get("client") or ("",))[0]
    try:
        return str(ip_address(host.partition("%")[0]))
    except ValueError:
        # A UNIX socket or a test client.
        return None

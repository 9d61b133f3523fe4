"""Record the API calls of an ASGI service in the console, in five lines:

    from audit.capture.asgi import AuditMiddleware

    app = AuditMiddleware(
        app, console_url="https://console.example", token=os.environ["COMPLIANCE_TOKEN"],
        source="trading-api", spool="var/audit-spool.jsonl", identify=who,
    )

Needs the standard library and this package only: no Django, no web framework. Trouble with
the audit never changes what the service answers.
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Awaitable, Callable, Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path

from audit.capture.asgi_exchange import (
    CLIENT_CLOSED_REQUEST,
    Exchange,
    Message,
    Receive,
    Scope,
    Send,
    request_fields,
    timestamp,
)
from audit.capture.console_client import ConsoleClient
from audit.capture.delivery import DeliveryCounts, Outbox
from audit.capture.redaction import redact, redact_text, storable_text
from audit.capture.spool import Spool

ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]
Identify = Callable[[Scope], tuple[int | None, str | None] | None]

logger = logging.getLogger(__name__)

# Where handlers find the recorder: `request.scope["audit.recorder"]`.
RECORDER = "audit.recorder"
NOT_RECORDED = ("/health", "/metrics")
LONGEST_DATA = 48 * 1024
# The console refuses longer ones.
LONGEST_FIELDS = {
    "source": 100,
    "actor": 200,
    "action": 50,
    "resource": 2000,
    "route": 2000,
    "query": 4000,
    "method": 20,
    "userAgent": 1000,
}


class AuditRecorder:
    """Records events under one source; `AuditMiddleware` has one as `.recorder`."""

    def __init__(self, *, console_url: str, token: str, source: str, spool: str | Path) -> None:
        self.source = source
        self._outbox = Outbox(ConsoleClient(console_url, token), Spool(Path(spool)))

    @property
    def counts(self) -> DeliveryCounts:
        """Tell how many events this process delivered, had rejected and dropped."""
        return self._outbox.counts

    def record(
        self,
        *,
        action: str,
        resource: str,
        user_id: int | None = None,
        actor: str | None = None,
        status_code: int | None = None,
        data: object = None,
        scope: Scope | None = None,
    ) -> str:
        """Record a sign-in or a domain event and return its id; never raises.

        `action` is upper case: LOGIN, LOGOUT, LOGIN_FAILED, START and so on. `data` is
        anything JSON can hold and is redacted. With the request's `scope` the event gets the
        request's id, method, address and user agent.
        """
        fields: dict[str, object] = {
            "action": action,
            "resource": resource,
            "userId": user_id,
            "actor": actor,
            "statusCode": status_code,
        }
        return self._hand_over(lambda: self._with_request(fields, scope, data))

    def record_exchange(self, exchange: Exchange, identify: Identify | None) -> str:
        """Record a request whose app has returned or raised; never raises."""
        return self._hand_over(lambda: _with_identity(exchange, identify))

    def start(self) -> None:
        """Start to deliver, beginning with what an earlier process left in the spool."""
        self._outbox.start()

    def close(self, timeout: float = 5.0) -> None:
        """Deliver what waits, at most for `timeout` seconds; the rest stays in the spool."""
        self._outbox.close(timeout)

    def _hand_over(self, make_fields: Callable[[], Mapping[str, object]]) -> str:
        event_id = str(uuid.uuid4())
        try:
            event = {
                "id": event_id,
                "source": self.source,
                "occurredAt": timestamp(datetime.now(UTC)),
                **make_fields(),
            }
            self._outbox.put(_as_line(event))
        except Exception as exc:
            # Whatever `identify` or the data did, the request is answered. No message: it
            # could quote a secret.
            logger.error("An audit event was lost: %s.", type(exc).__name__)
        return event_id

    @staticmethod
    def _with_request(
        fields: dict[str, object], scope: Scope | None, data: object
    ) -> dict[str, object]:
        of_request = request_fields(scope) if scope else {}
        return {**of_request, **fields, "requestData": _data_text(data)}


class AuditMiddleware:
    """Send one event for each HTTP request of an ASGI app to the console.

    `identify(scope)` is called after the app ran and returns the user's id and name, or
    None. Paths in `exclude`, and what is below them, are not recorded. The app finds the
    recorder for its own events in the scope, as `audit.recorder`.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        console_url: str,
        token: str,
        source: str,
        spool: str | Path,
        identify: Identify | None = None,
        exclude: Collection[str] = NOT_RECORDED,
    ) -> None:
        self.app = app
        self.recorder = AuditRecorder(
            console_url=console_url, token=token, source=source, spool=spool
        )
        self._identify = identify
        self._exclude = tuple(exclude)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._run_lifespan(scope, receive, send)
        elif scope["type"] == "http":
            await self._run_request({**scope, RECORDER: self.recorder}, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _run_request(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._is_excluded(scope["path"]):
            await self.app(scope, receive, send)
            return
        exchange = Exchange(scope, receive, send)
        try:
            await self.app(scope, exchange.receive, exchange.send)
        except Exception:
            exchange.status = 500
            raise
        except BaseException:
            exchange.status = exchange.status or CLIENT_CLOSED_REQUEST
            raise
        else:
            # A server answers for an app that did not.
            exchange.status = exchange.status or 500
        finally:
            self.recorder.record_exchange(exchange, self._identify)

    async def _run_lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def watch(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete":
                self.recorder.start()
            elif message["type"].startswith("lifespan.shutdown."):
                # Nothing is served any more that this could block.
                self.recorder.close()
            await send(message)

        await self.app(scope, receive, watch)

    def _is_excluded(self, path: str) -> bool:
        return any(
            path == excluded or path.startswith(f"{excluded}/") for excluded in self._exclude
        )


def _with_identity(exchange: Exchange, identify: Identify | None) -> dict[str, object]:
    user_id, actor = None, None
    try:
        user_id, actor = (identify(exchange.scope) if identify else None) or (None, None)
    except Exception as exc:
        # The service's own code. The request is recorded without its user.
        logger.error("`identify` failed: %s.", type(exc).__name__)
    return {"userId": user_id, "actor": actor, **exchange.event_fields()}


def _data_text(data: object) -> str | None:
    if data is None:
        return None
    text = json.dumps(redact(data), ensure_ascii=False, separators=(",", ":"), default=str)
    if len(text) > LONGEST_DATA:
        return json.dumps({"_truncated": True, "_bytes": len(text.encode())})
    return text


def _as_line(event: Mapping[str, object]) -> bytes:
    fitting = {
        name: _fitting(name, value) if isinstance(value, str) else value
        for name, value in event.items()
    }
    # A user id that is no number: the console names the mistake, better than losing the event.
    return json.dumps(fitting, ensure_ascii=False, separators=(",", ":"), default=str).encode()


def _fitting(name: str, text: str) -> str:
    # These two were redacted as what they are; they are not plain text.
    is_redacted = name in {"query", "requestData"}
    redacted = storable_text(text) if is_redacted else redact_text(text)
    return redacted[: LONGEST_FIELDS.get(name)]

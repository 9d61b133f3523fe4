"""Signed webhooks, by the scheme of Standard Webhooks (version 1, symmetric).

Three headers go with the body: `webhook-id` (the same whenever the same message is sent again),
`webhook-timestamp` (seconds since 1970) and `webhook-signature`, which is `v1,` and the base64 of
HMAC-SHA256 over `<id>.<timestamp>.<body>`. A key that begins with `whsec_` is base64 after it;
any other is taken as its bytes in UTF-8.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterable, Mapping

from compliance_site.foundation.outgoing import Answer, send
from compliance_site.foundation.secret_text import SecretText

SHORTEST_KEY = 24
TOLERANCE_SECONDS = 300
PREFIX = "whsec_"


class WebhookKeyError(ValueError):
    """A webhook's key has 24 bytes or more, in base64 after `whsec_` or as they are."""


def key_bytes(key: SecretText) -> bytes:
    """Return the key that signs; raise `WebhookKeyError`."""
    text = key.reveal()
    try:
        encoded = text.removeprefix(PREFIX)
        plain = base64.b64decode(encoded, validate=True) if encoded != text else text.encode()
    except ValueError:
        raise WebhookKeyError(WebhookKeyError.__doc__) from None
    if len(plain) < SHORTEST_KEY:
        raise WebhookKeyError(WebhookKeyError.__doc__)
    return plain


def signed_headers(
    message_id: str, body: bytes, key: SecretText, *, timestamp: int | None = None
) -> dict[str, str]:
    """Return the three headers to send with the body; raise `WebhookKeyError`."""
    at = str(int(time.time()) if timestamp is None else timestamp)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": at,
        "webhook-signature": f"v1,{_signature(message_id, at, body, key)}",
    }


def verify(
    headers: Mapping[str, str],
    body: bytes,
    keys: Iterable[SecretText],
    *,
    now: float | None = None,
) -> bool:
    """Tell whether one of the keys signed the message within the last five minutes.

    `headers` have names in lower case. That a message was not seen before is the receiver's to
    check, by its `webhook-id`. Several keys are for the time in which one takes over from another.
    """
    message_id, at = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    is_number = at.isascii() and at.isdecimal() and len(at) < 20
    moment = time.time() if now is None else now
    is_fresh = is_number and abs(moment - int(at)) <= TOLERANCE_SECONDS
    given = [
        signature.removeprefix("v1,").encode()
        for signature in headers.get("webhook-signature", "").split()
        if signature.startswith("v1,")
    ]
    # Every key against every signature, so that the time says nothing of which one fitted.
    matches = [
        hmac.compare_digest(_signature(message_id, at, body, key).encode(), signature)
        for key in keys
        for signature in given
    ]
    return is_fresh and any(matches)


def post(
    url: str, *, message_id: str, payload: object, key: SecretText, timeout: float = 10
) -> Answer:
    """Send the payload as signed JSON; raise `OutgoingError` or `WebhookKeyError`."""
    body = json.dumps(payload).encode()
    headers = {"Content-Type": "application/json", **signed_headers(message_id, body, key)}
    return send("POST", url, headers=headers, content=body, timeout=timeout, max_bytes=64_000)


def _signature(message_id: str, at: str, body: bytes, key: SecretText) -> str:
    signed = b".".join((message_id.encode(), at.encode(), body))
    return base64.b64encode(hmac.digest(key_bytes(key), signed, hashlib.sha256)).decode()

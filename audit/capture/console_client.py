"""Send batches of events to a console's `POST /audit/events`.

Needs the standard library only: it runs inside other services.
"""

from __future__ import annotations

import http.client
import json
import re
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

TIMEOUT_SECONDS = 10.0
LONGEST_ANSWER = 4 * 1024 * 1024
# The console read the batch and will never take it as it is.
PERMANENT_REFUSALS = frozenset({400, 409, 413, 422})


class UndeliveredError(Exception):
    """The console did not take the batch now; later it may."""


class BatchRefusedError(Exception):
    """The console will not take this batch; smaller ones it may."""


@dataclass(frozen=True)
class Rejection:
    """An event of the batch that the console named as bad."""

    index: int
    error: str


class ConsoleClient:
    """One console, reached with one service token.

    TLS certificates are verified and redirects are not followed: the token goes to the
    configured host or nowhere, and it never appears in an error.
    """

    def __init__(self, console_url: str, token: str) -> None:
        url = urlsplit(console_url)
        if url.scheme not in ("http", "https") or not url.hostname or url.username:
            raise ValueError("console_url must read http(s)://host[:port][/prefix]")
        # http.client would quote a token with a line break in its error.
        if not re.fullmatch(r"[!-~]+", token):
            raise ValueError("The token must be one line of visible ASCII characters")
        self._scheme, self._host, self._port = url.scheme, url.hostname, url.port
        self._path = url.path.rstrip("/") + "/audit/events"
        self._headers = {"Authorization": f"Token {token}", "Content-Type": "application/json"}

    def __repr__(self) -> str:
        return f"ConsoleClient({self._scheme}://{self._host})"

    def send(self, lines: Sequence[bytes]) -> list[Rejection]:
        """Send events, each one JSON text, and return those that the console rejected.

        Raise `UndeliveredError` or `BatchRefusedError` when the console did not answer for each event.
        """
        body = b'{"events":[' + b",".join(lines) + b"]}"
        status, answer = self._post(body)
        if status in PERMANENT_REFUSALS:
            raise BatchRefusedError(f"status {status}")
        if status not in (200, 201):
            raise UndeliveredError(f"status {status}")
        return _rejections(answer, len(lines))

    def _post(self, body: bytes) -> tuple[int, bytes]:
        connection = self._connection()
        try:
            connection.request("POST", self._path, body, self._headers)
            response = connection.getresponse()
            return response.status, response.read(LONGEST_ANSWER)
        except (OSError, http.client.HTTPException) as exc:
            raise UndeliveredError(type(exc).__name__) from None
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        if self._scheme == "http":
            return http.client.HTTPConnection(self._host, self._port, timeout=TIMEOUT_SECONDS)
        return http.client.HTTPSConnection(
            self._host,
            self._port,
            timeout=TIMEOUT_SECONDS,
            context=ssl.create_default_context(),
        )


def _rejections(answer: bytes, sent: int) -> list[Rejection]:
    """Read an answer that accounts for every event sent; anything else delivered nothing."""
    try:
        outcome = json.loads(answer)
        rejections = [
            Rejection(entry["index"], str(entry["error"])) for entry in outcome["rejected"]
        ]
        answered = outcome["accepted"] + outcome["duplicates"] + len(rejections)
        is_complete = answered == sent and all(0 <= one.index < sent for one in rejections)
    except (ValueError, KeyError, TypeError):
        is_complete = False
    if not is_complete:
        raise UndeliveredError("an answer that is not a console's")
    return rejections

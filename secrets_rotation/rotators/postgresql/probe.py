"""Try a login at a PostgreSQL server, and tell a refused credential from every other failure.

By pg8000: psycopg does not give the SQLSTATE of a failed login.
"""

from __future__ import annotations

import contextlib
import socket
import time
from dataclasses import dataclass, field
from typing import Any

import pg8000.native  # type: ignore[import-untyped]
from scramp import ScramException  # type: ignore[import-untyped]

from compliance_site.foundation.deadline import deadline
from secrets_rotation.exceptions import TargetUnknownError
from secrets_rotation.rotators.base import Answer
from secrets_rotation.rotators.postgresql.server import Login, Server

NAME = "compliance-console probe"
PROBE_SECONDS = 5.0
# Requests of PostgreSQL's protocol for authentication.
GRANTED, IN_CLEAR, MD5, SCRAM, SCRAM_PROVEN = 0, 3, 5, 10, 12
WRONG_PASSWORD, NOT_AUTHORIZED = "28P01", "28000"
# PostgreSQL says 28000 for roles that may not log in, and for addresses or missing encryption
# (pg_hba.conf) and for an LDAP server that is away: only the first is about the credential.
# Unlike the message, the name of the function that said it is in no other language.
REFUSING_FUNCTION = "InitializeSessionUserId"


@dataclass
class Seen:
    """What the server said during a login."""

    requests: set[int] = field(default_factory=set)
    sqlstate: str = ""
    function: str = ""
    is_open: bool = False

    def answer(self) -> Answer:
        if self.sqlstate == WRONG_PASSWORD:
            return Answer.REFUSED
        if self.sqlstate == NOT_AUTHORIZED and self.function == REFUSING_FUNCTION:
            return Answer.REFUSED
        return Answer.WORKS if self.is_open else Answer.UNKNOWN


class _InClearError(Exception):
    """The server asks for the password in clear text."""


class _Connection(pg8000.native.Connection):  # type: ignore[misc]
    """A login that notes what the server asks for, and never sends a password in clear."""

    def __init__(self, seen: Seen, **options: Any) -> None:
        self._seen = seen
        super().__init__(**options)

    def handle_AUTHENTICATION_REQUEST(self, data: bytes, context: Any) -> None:  # noqa: N802
        request = int.from_bytes(data[:4])
        self._seen.requests.add(request)
        if request == IN_CLEAR:
            raise _InClearError
        if request == SCRAM:
            # The server goes by the name of the login; the driver refuses some names in here.
            self.user = b"*"
        super().handle_AUTHENTICATION_REQUEST(data, context)

    def handle_ERROR_RESPONSE(self, data: bytes, context: Any) -> None:  # noqa: N802
        super().handle_ERROR_RESPONSE(data, context)
        # Noted here: the error itself is lost when saying goodbye fails too.
        (fields,) = context.error.args
        self._seen.sqlstate, self._seen.function = fields.get("C", ""), fields.get("R", "")


def attempt(server: Server, login: Login, seconds: float = PROBE_SECONDS) -> Answer:
    """Say whether the login works; the answer comes within `seconds` (and the name's look-up).

    Raise `TargetUnknownError` when the server would let in anybody or asks for the password in
    clear: whatever it says then is no answer.
    """
    seen = Seen()
    # Whatever goes wrong on the way is no answer; what the server did say is in `seen`.
    # KeyError and ValueError: the driver's for bytes that are not PostgreSQL's.
    with contextlib.suppress(
        pg8000.native.Error, ScramException, OSError, KeyError, ValueError, _InClearError
    ):
        _sign_in(server, login, seconds, seen)
    if IN_CLEAR in seen.requests:
        raise TargetUnknownError("the server asks for the password in clear text (pg_hba.conf)")
    if GRANTED in seen.requests and not seen.requests & {MD5, SCRAM_PROVEN}:
        raise TargetUnknownError("the server checks no password from here (trust in pg_hba.conf)")
    return seen.answer()


def _sign_in(server: Server, login: Login, seconds: float, seen: Seen) -> None:
    due = time.monotonic() + seconds
    with _connected(server, seconds) as connected:
        left = max(due - time.monotonic(), 0.0)
        connected.settimeout(seconds)
        with deadline(connected.fileno(), left):
            connection = _Connection(
                seen,
                user=login.username,
                password=login.password.reveal(),
                host=server.host,
                database=server.database,
                ssl_context=server.ssl_context(),
                sock=connected,
                application_name=NAME,
            )
            seen.is_open = True
            connection.close()


def _connected(server: Server, seconds: float) -> socket.socket:
    places = socket.getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM)
    # The time-out is for each address of the name.
    return socket.create_connection((server.host, server.port), seconds / len(places))

"""Who may see details: the detail networks, and whoever has a role.

A role is asked from the database, which may freeze between two looks at it. So the question has
a thread and a connection of its own, one at a time, and whoever waits gives up in time: a caller
who cannot be identified is nobody.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from django.conf import settings
from django.db import Error as DatabaseAwayError
from django.db import connections
from django.http import HttpRequest
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied
from rest_framework.request import Request

from audit.capture.client_ip import is_client_within
from compliance_site.foundation.api.authentication import (
    ConsoleSessionAuthentication,
    ConsoleTokenAuthentication,
)
from compliance_site.foundation.deadline import deadline
from compliance_site.foundation.roles import Role, has_role
from recovery.health.report import DATABASE
from recovery.health.results import Status

PATIENCE_SECONDS = 0.7
# The shortest that libpq's drivers know.
CONNECT_SECONDS = 2
REMEMBERED_SECONDS = 2.0
MOST_REMEMBERED = 1000


def may_see_details(request: HttpRequest) -> bool:
    """Tell whether the caller gets more than a status; within `PATIENCE_SECONDS`.

    Asks nothing of a database that did not answer its own check, which has to have run.
    """
    if is_client_within(request, settings.HEALTH_DETAIL_NETWORKS):
        return True
    credentials = _credentials(request)
    if not credentials or DATABASE.result().status == Status.UNHEALTHY:
        return False
    return _roles.has_role(request, hashlib.sha256(credentials).digest())


class Roles:
    """Which credentials had a role a moment ago; by their hashes, for they are secret."""

    def __init__(self) -> None:
        self._asking = threading.Lock()
        self._known: dict[bytes, tuple[bool, float]] = {}

    def has_role(self, request: HttpRequest, key: bytes) -> bool:
        until = time.monotonic() + PATIENCE_SECONDS
        if (known := self._remembered(key)) is not None:
            return known
        # Released by the thread that asks, when the database has answered or is given up.
        if not self._asking.acquire(timeout=PATIENCE_SECONDS):
            return False
        if (known := self._remembered(key)) is not None:
            self._asking.release()
            return known
        return self._ask(request, key, until)

    def _ask(self, request: HttpRequest, key: bytes, until: float) -> bool:
        answered, since = threading.Event(), time.monotonic()

        def ask() -> None:
            try:
                self._remember(key, _has_role(request))
                answered.set()
            finally:
                self._asking.release()

        threading.Thread(target=ask, name="health-caller", daemon=True).start()
        if not answered.wait(max(0.0, until - time.monotonic())):
            # The others need not find out by waiting as well.
            DATABASE.note_silence(since)
        return self._remembered(key) or False

    def _remembered(self, key: bytes) -> bool | None:
        known, until = self._known.get(key, (None, 0.0))
        return known if time.monotonic() < until else None

    def _remember(self, key: bytes, known: bool) -> None:
        if len(self._known) >= MOST_REMEMBERED:
            self._known.clear()
        self._known[key] = (known, time.monotonic() + REMEMBERED_SECONDS)

    def forget(self) -> None:
        self._known.clear()


_roles = Roles()


def forget() -> None:
    """Ask everybody's role anew."""
    _roles.forget()


def _credentials(request: HttpRequest) -> bytes:
    """Return what the caller proves himself by, b"" when he does not try."""
    token = request.META.get("HTTP_AUTHORIZATION", "")
    cookie = request.COOKIES.get(settings.SESSION_COOKIE_NAME, "")
    return f"{token}\0{cookie}".encode() if token or cookie else b""


def _has_role(request: HttpRequest) -> bool:
    authenticators: list[BaseAuthentication] = [
        ConsoleTokenAuthentication(),
        ConsoleSessionAuthentication(),
    ]
    caller = Request(request, authenticators=authenticators)
    with suppress(AuthenticationFailed, PermissionDenied, DatabaseAwayError), _own_connection():
        return has_role(caller.user, *Role)
    return False


@contextmanager
def _own_connection() -> Iterator[None]:
    """Give this thread a connection that ends by itself, also at a database that is frozen."""
    connection = connections.create_connection("default")
    options = connection.settings_dict["OPTIONS"] | {"connect_timeout": CONNECT_SECONDS}
    connection.settings_dict = connection.settings_dict | {"OPTIONS": options}
    connections["default"] = connection
    try:
        connection.ensure_connection()
        with deadline(connection.connection.fileno(), PATIENCE_SECONDS):
            yield
    finally:
        connection.close()

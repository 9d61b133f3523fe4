"""How callers of the API prove who they are: an expiring hashed token, or the session.

Whoever presents credentials that are refused is announced by `credentials_refused`.
"""

from __future__ import annotations

from typing import Any

from django.dispatch import Signal
from knox.auth import TokenAuthentication
from rest_framework.authentication import SessionAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

# Sent with request (Django's), scheme and reason; never with the credentials.
credentials_refused = Signal()


class ConsoleTokenAuthentication(TokenAuthentication):  # type: ignore[misc]  # knox has no types
    """`Authorization: Token <token>`; a refused one is announced."""

    def authenticate(self, request: Request) -> Any:
        try:
            return super().authenticate(request)
        except AuthenticationFailed as refusal:
            reason = str(refusal.detail)
            credentials_refused.send(
                type(self), request=request._request, scheme="token", reason=reason
            )
            raise

    def authenticate_credentials(self, token: bytes) -> Any:
        # Knox decodes without a guard, and PostgreSQL refuses U+0000 in a query.
        if not token.isascii() or b"\0" in token:
            raise AuthenticationFailed("Invalid token.")
        return super().authenticate_credentials(token)


class ConsoleSessionAuthentication(SessionAuthentication):
    """The session of a person signed in to the admin; answers 401, not 403, to nobody."""

    def authenticate_header(self, request: Request) -> str:
        return "Session"

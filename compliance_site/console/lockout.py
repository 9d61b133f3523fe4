"""The brake on password guessing keeps who was tried from where, and no text of the caller's.

What django-axes stores by itself (query, form, user agent, the name typed) can hold a
password that somebody typed into the wrong field.
"""

from __future__ import annotations

from typing import Any

from axes.handlers.database import AxesDatabaseHandler
from django.contrib.auth.models import User
from django.http import HttpRequest, QueryDict

from audit.capture import redaction


class QuietHandler(AxesDatabaseHandler):  # type: ignore[misc]  # axes has no types
    def user_login_failed(
        self, sender: Any, credentials: dict[str, Any], request: Any = None, **kwargs: Any
    ) -> None:
        """Count the failure; the caller's own texts are hidden from it meanwhile."""
        if request is None:
            super().user_login_failed(sender, credentials, request, **kwargs)
            return
        texts = request.GET, request.POST
        request.GET, request.POST = QueryDict(), QueryDict()
        request.axes_user_agent = request.axes_http_accept = ""
        try:
            super().user_login_failed(sender, credentials, request, **kwargs)
        finally:
            request.GET, request.POST = texts


def attempted_name(request: HttpRequest, credentials: dict[str, Any] | None = None) -> str | None:
    """Return the account that was tried, or a tag in the place of a name that is no account's."""
    name = (credentials or {}).get("username") or request.POST.get("username")
    if not name or User.objects.filter(username=str(name).replace("\0", "")).exists():
        return name
    tags = redaction.installed().tags_of(str(name))
    return tags[0] if tags else redaction.REDACTED

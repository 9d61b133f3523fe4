"""System checks: a production console refuses to start with unsafe settings."""

from __future__ import annotations

import stat
from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register, run_checks
from django.core.exceptions import ImproperlyConfigured

from compliance_site.foundation import master_key
from compliance_site.foundation.master_key import MasterKeyError

SHORTEST_KEY = 50
# Of 32 random bytes fewer are different once in billions of keys.
FEWEST_BYTES = 20


@register(Tags.security)
def production_is_safe(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[CheckMessage]:
    """Report site.E001 to E006, in production only."""
    if not settings.PRODUCTION:
        return []
    return [
        Error(problem, hint=hint, id=f"site.{check_id}")
        for check_id, is_wrong, problem, hint in _rules()
        if is_wrong
    ]


def _rules() -> list[tuple[str, bool, str, str]]:
    key = settings.SECRET_KEY
    return [
        ("E001", settings.DEBUG, "DEBUG is on in production.", "Unset DEBUG."),
        (
            "E002",
            len(key) < SHORTEST_KEY or len(set(key)) < 5 or "insecure" in key or "change" in key,
            "SECRET_KEY is short or a default.",
            f"Set SECRET_KEY (or SECRET_KEY_FILE) to {SHORTEST_KEY} or more random characters.",
        ),
        (
            "E003",
            not settings.ALLOWED_HOSTS or "*" in settings.ALLOWED_HOSTS,
            "ALLOWED_HOSTS names no host, or every host.",
            "Set ALLOWED_HOSTS to the host names that people use, separated by commas.",
        ),
        (
            "E004",
            not (settings.SESSION_COOKIE_SECURE and settings.CSRF_COOKIE_SECURE),
            "Cookies would travel over plain HTTP.",
            "Unset COOKIE_SECURE and serve the console over HTTPS.",
        ),
        (
            "E005",
            settings.EMBEDDED,
            "A production console runs on embedded services.",
            "Set DATABASE_URL and REDIS_URL.",
        ),
        (
            "E006",
            bool(problem := _master_key_problem()),
            problem,
            "Give 32 random bytes in hex or base64, such as `openssl rand -hex 32` prints.",
        ),
    ]


def _master_key_problem() -> str:
    """Return what is wrong with the master key, "" when nothing is."""
    try:
        key = master_key.ring().current.key
    except MasterKeyError as exc:
        return str(exc)
    is_weak = len(set(key)) < FEWEST_BYTES
    return "COMPLIANCE_MASTER_KEY (or its file) is not random." if is_weak else ""


@register(Tags.security)
def master_key_is_private(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[CheckMessage]:
    """Report site.W001 for a file of master keys that every account may read or write."""
    path = settings.COMPLIANCE_MASTER_KEY_FILE
    if path is None or not path.is_file() or not path.stat().st_mode & stat.S_IRWXO:
        return []
    return [
        Warning(
            f"COMPLIANCE_MASTER_KEY_FILE: every account of this machine may open {path}.",
            hint=f"chmod o= {path}",
            id="site.W001",
        )
    ]


def refuse_unsafe_settings() -> None:
    """Raise `ImproperlyConfigured` with every error, for servers that run no command."""
    errors = [message for message in run_checks(tags=[Tags.security]) if message.is_serious()]
    if errors:
        raise ImproperlyConfigured(
            "\n".join(f"{error.id}: {error.msg} {error.hint}" for error in errors)
        )

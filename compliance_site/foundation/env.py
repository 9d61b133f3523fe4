"""Read settings from environment variables, failing at start with the variable's name.

Every reader takes the name and a default; a missing variable without a default and a
value that does not parse raise `ImproperlyConfigured`. An empty variable counts as unset,
as in a Compose file with `NAME=${NAME:-}`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

REQUIRED: Any = object()
TRUE = {"1", "true", "yes", "on"}
FALSE = {"0", "false", "no", "off"}

Network = IPv4Network | IPv6Network


def read[Value](name: str, parse: Callable[[str], Value], default: Value = REQUIRED) -> Value:
    raw = os.environ.get(name, "").strip()
    if not raw:
        if default is REQUIRED:
            raise ImproperlyConfigured(f"{name} is not set.")
        return default
    try:
        return parse(raw)
    except ValueError as exc:
        raise ImproperlyConfigured(f"{name}: {exc}") from exc


def env_str(name: str, default: str = REQUIRED) -> str:
    return read(name, str, default)


def env_int(name: str, default: int = REQUIRED, *, minimum: int | None = None) -> int:
    def parse(raw: str) -> int:
        value = int(raw)
        if minimum is not None and value < minimum:
            raise ValueError(f"{value} is below {minimum}.")
        return value

    return read(name, parse, default)


def env_bool(name: str, default: bool = REQUIRED) -> bool:
    def parse(raw: str) -> bool:
        if raw.lower() not in TRUE | FALSE:
            raise ValueError(f"{raw!r} is neither true nor false.")
        return raw.lower() in TRUE

    return read(name, parse, default)


def env_choice(name: str, choices: tuple[str, ...], default: str = REQUIRED) -> str:
    def parse(raw: str) -> str:
        if raw.lower() not in choices:
            raise ValueError(f"{raw!r} is not one of {', '.join(choices)}.")
        return raw.lower()

    return read(name, parse, default)


def env_list(name: str, default: tuple[str, ...] = ()) -> list[str]:
    """Read comma-separated values; blanks around them do not count."""
    return read(
        name, lambda raw: [part.strip() for part in raw.split(",") if part.strip()], list(default)
    )


def env_networks(name: str, default: tuple[str, ...] = ()) -> list[Network]:
    """Read comma-separated addresses or CIDR networks; `none` stands for no network at all."""
    return read(
        name,
        lambda raw: [
            ip_network(part.strip()) for part in raw.split(",") if part.strip().lower() != "none"
        ],
        [ip_network(network) for network in default],
    )


def env_path[Default: Path | None](name: str, default: Default = REQUIRED) -> Path | Default:
    return read(name, Path, default)  # type: ignore[arg-type]  # of Path, or what the default is


def env_secret(name: str, default: str = REQUIRED) -> str:
    """Read a secret from `NAME`, or from the file that `NAME_FILE` names.

    The value never appears in the error.
    """
    file = os.environ.get(f"{name}_FILE", "").strip()
    if file and os.environ.get(name):
        raise ImproperlyConfigured(f"Set {name} or {name}_FILE, not both.")
    if not file:
        return read(name, str, default)
    try:
        return Path(file).read_text(encoding="utf-8").strip()
    except OSError as exc:
        raise ImproperlyConfigured(f"{name}_FILE: {exc.strerror}: {file}") from exc


def postgresql_database(url: str, *, name: str) -> dict[str, Any]:
    """Turn `postgresql://user:password@host:port/database?option=value` into Django's dict.

    `name` is the variable that the URL came from, for the error. The URL itself may hold a
    password and is never part of an error.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or 5432
    except ValueError as exc:
        raise ImproperlyConfigured(f"{name} is not a URL.") from exc
    if parts.scheme not in {"postgres", "postgresql"} or not parts.path.strip("/"):
        raise ImproperlyConfigured(
            f"{name} must read postgresql://user:password@host:port/database."
        )
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.strip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": unquote(parts.hostname or ""),
        "PORT": port,
        "OPTIONS": dict(parse_qsl(parts.query)),
    }

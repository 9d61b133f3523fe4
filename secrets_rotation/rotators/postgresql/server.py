"""Where a PostgreSQL server is, and the settings that both of its rotators share."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from compliance_site.foundation.secret_text import SecretText
from secrets_rotation.declared import Setting

VERIFY_CA, VERIFY_FULL = "verify-ca", "verify-full"
SSL_MODES = ("disable", "prefer", "require", VERIFY_CA, VERIFY_FULL)
# PostgreSQL cuts longer names off, and the rest may be another role's.
LONGEST_NAME = 63
SETTINGS = (
    Setting("host", "Name or address of the server.", required=True),
    Setting("port", "Its port.", int, 5432),
    Setting("database", "The database to sign in to.", default="postgres"),
    Setting("sslmode", f"{', '.join(SSL_MODES)}.", default="prefer"),
    Setting("sslRootCert", "File with the authorities that verify-ca and verify-full trust."),
    Setting("adminUser", "The role that changes passwords and ends sessions.", required=True),
    Setting("adminPassword", "Its password.", required=True, secret=True),
)
ADDRESS = ("host", "port", "sslmode", "sslRootCert")


@dataclass(frozen=True)
class Login:
    username: str
    password: SecretText


@dataclass(frozen=True)
class Server:
    """A server and how to reach it."""

    host: str
    port: int
    database: str
    sslmode: str
    root_certificate: str

    @classmethod
    def of(cls, target: Mapping[str, Any]) -> Self:
        return cls(
            target["host"],
            target["port"],
            target["database"],
            target["sslmode"],
            target["sslRootCert"] or "",
        )

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    def ssl_context(self) -> ssl.SSLContext | Literal[False] | None:
        """Return what pg8000 takes: False for no TLS, None for TLS where the server has it."""
        if self.sslmode in ("disable", "prefer"):
            return False if self.sslmode == "disable" else None
        context = ssl.create_default_context(cafile=self.root_certificate or None)
        # As libpq does: many a company's authority does not keep to the letter of the standard.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        context.check_hostname = self.sslmode == VERIFY_FULL
        if self.sslmode == "require":
            context.verify_mode = ssl.CERT_NONE
        return context

    @property
    def libpq_root_certificate(self) -> str:
        """Return libpq's `sslrootcert`: unlike pg8000, it verifies whenever it has one."""
        if self.sslmode == VERIFY_FULL:
            return self.root_certificate or "system"
        return self.root_certificate if self.sslmode == VERIFY_CA else ""


def server_problems(target: Mapping[str, Any]) -> dict[str, str]:
    """Return what is wrong with the shared settings, by setting."""
    problems = {}
    if target["host"].startswith("/") or set(target["host"]) & set(", \0"):
        problems["host"] = "Give the name or address of one server."
    if not 1 <= target["port"] <= 65535:
        problems["port"] = "Give a port from 1 to 65535."
    if target["sslmode"] not in SSL_MODES:
        problems["sslmode"] = f"Give one of {', '.join(SSL_MODES)}."
    elif target["sslmode"] == VERIFY_CA and not target.get("sslRootCert"):
        problems["sslRootCert"] = "verify-ca needs a file of authorities."
    return problems


def name_problem(name: Any, target: Mapping[str, Any]) -> str:
    """Return why the rotator may not change the role of this name, or ""."""
    if not isinstance(name, str) or not name or "\0" in name:
        return "Give the names of roles."
    if len(name.encode()) > LONGEST_NAME:
        return f"Names of roles have at most {LONGEST_NAME} bytes."
    if name == target["adminUser"]:
        return "The administrator's own password cannot be rotated by its own session."
    return ""

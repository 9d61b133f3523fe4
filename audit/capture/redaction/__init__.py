"""Take secrets out of what is about to be recorded, before it is stored, spooled or logged.

Without Django: the ASGI middleware runs this inside other services, where secrets become
`[REDACTED]`. The console installs a `Redactor` with a key at start, and they become tags that
can be compared (`hmac-sha256:<key version>:<prefix>`).

A text of n characters becomes one of at most 12 n + 38: the shortest secret that is replaced
has three characters beside it (`pin=`), and a query's other characters are at worst escaped.
"""

from __future__ import annotations

from audit.capture.redaction.names import is_sensitive_name
from audit.capture.redaction.redactor import (
    MAX_DEPTH,
    TOO_DEEP,
    Redactor,
    parse_json,
    storable_text,
)
from audit.capture.redaction.rules import RuleError, Rules, make_rules
from audit.capture.redaction.tags import LONGEST_TAG, REDACTED, Tagger, is_tag

__all__ = [
    "LONGEST_TAG",
    "MAX_DEPTH",
    "REDACTED",
    "TOO_DEEP",
    "Redactor",
    "RuleError",
    "Rules",
    "Tagger",
    "install",
    "installed",
    "is_sensitive_name",
    "is_tag",
    "make_rules",
    "parse_json",
    "redact",
    "redact_json_text",
    "redact_query",
    "redact_text",
    "storable_text",
]

_installed = Redactor()


def install(redactor: Redactor) -> None:
    """Make this the process's redactor, for the functions below."""
    global _installed
    _installed = redactor


def installed() -> Redactor:
    return _installed


def redact(value: object) -> object:
    """Redact parsed JSON; see `Redactor.redact`."""
    return _installed.redact(value)


def redact_json_text(text: str) -> str:
    """Redact JSON text; see `Redactor.redact_json_text`."""
    return _installed.redact_json_text(text)


def redact_query(query: str) -> str:
    """Redact a query string or form body; see `Redactor.redact_query`."""
    return _installed.redact_query(query)


def redact_text(text: str) -> str:
    """Redact plain text; see `Redactor.redact_text`."""
    return _installed.redact_text(text)

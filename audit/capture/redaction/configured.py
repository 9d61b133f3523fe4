"""The console's redactor, made of its settings; a mistake in them is an error at start."""

from __future__ import annotations

import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from audit.capture.redaction.redactor import Redactor
from audit.capture.redaction.rules import RuleError, Rules, make_rules
from audit.capture.redaction.tags import Tagger

DERIVATION = b"compliance console: audit redaction tags, version 1"


def configured_redactor() -> Redactor:
    """Return the redactor of the settings.

    Raise `ImproperlyConfigured` naming the setting or rule; never with a key in its text.
    """
    return Redactor(_tagger(), _rules())


def _tagger() -> Tagger:
    version, retired = settings.AUDIT_REDACTION_KEY_VERSION, _retired_keys()
    if version in retired:
        raise ImproperlyConfigured(
            f"AUDIT_REDACTION_RETIRED_KEYS names version {version}, which is in use."
        )
    key = settings.AUDIT_REDACTION_KEY.encode()
    # A key of its own even then: nobody learns anything about SECRET_KEY from tags.
    derived = hmac.new(settings.SECRET_KEY.encode(), DERIVATION, hashlib.sha256).digest()
    return Tagger(key or derived, version, retired)


def _retired_keys() -> dict[int, bytes]:
    keys: dict[int, bytes] = {}
    for part in filter(None, settings.AUDIT_REDACTION_RETIRED_KEYS.split(",")):
        version, _, key = part.strip().partition(":")
        if not (version.isascii() and version.isdigit() and len(version) <= 9 and key):
            raise ImproperlyConfigured("AUDIT_REDACTION_RETIRED_KEYS must read 1:key,2:key.")
        keys[int(version)] = key.encode()
    return keys


def _rules() -> Rules:
    file = _rules_file()
    patterns = {text: text for text in settings.AUDIT_REDACTION_EXTRA_PATTERNS}
    try:
        return make_rules(
            [*settings.AUDIT_REDACTION_EXTRA_NAMES, *file.get("names", [])],
            patterns | file.get("patterns", {}),
        )
    except RuleError as exc:
        raise ImproperlyConfigured(f"Redaction rule: {exc}") from exc


def _rules_file() -> dict[str, Any]:
    """Read `{"names": ["..."], "patterns": {"name": "regular expression"}}`."""
    path: Path | None = settings.AUDIT_REDACTION_RULES
    if path is None:
        return {}
    try:
        rules = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise ImproperlyConfigured(f"AUDIT_REDACTION_RULES: {exc}") from exc
    if not _is_rules(rules):
        raise ImproperlyConfigured(
            'AUDIT_REDACTION_RULES must hold {"names": [...], "patterns": {"name": "..."}}.'
        )
    return dict(rules)


def _is_rules(rules: Any) -> bool:
    if not isinstance(rules, dict) or rules.keys() - {"names", "patterns"}:
        return False
    names, patterns = rules.get("names", []), rules.get("patterns", {})
    return (
        isinstance(names, list)
        and isinstance(patterns, dict)
        and all(isinstance(text, str) for text in (*names, *patterns.values()))
    )

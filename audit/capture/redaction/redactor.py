"""Take secrets out of JSON, forms, query strings and text, by their names and by their looks."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal, DecimalException
from urllib.parse import quote_plus, unquote_plus

from audit.capture.redaction.names import is_sensitive_name
from audit.capture.redaction.rules import Rules
from audit.capture.redaction.tags import REDACTED, Tagger, is_tag, text_of
from audit.capture.redaction.values import canonical, replace_secrets

TOO_DEEP = "[TOO DEEP]"
MAX_DEPTH = 64
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_RUN = re.compile(r"""[^\s"'<>]+""")
_MOST_LAYERS = 5
_JSON_BLANKS = "\ufeff \t\r\n"
# Python refuses to convert longer digit strings by default.
_LONGEST_INTEGER = 4_000
# `cvv=1`: no built-in pattern matches less.
_SHORTEST_SECRET = 5
# Card numbers have 12 digits or more; other numbers are not looked at.
_SHORTEST_CARD = 10**11
# Paths, routes and user agents come again and again; secrets are never among what is kept.
_MOST_HARMLESS = 4_096
_LONGEST_HARMLESS = 256


@dataclass(frozen=True)
class Redactor:
    """The rules and the key by which secrets are replaced; without a key by `[REDACTED]`."""

    tagger: Tagger | None = None
    rules: Rules = field(default_factory=Rules)
    _harmless: set[str] = field(default_factory=set, init=False, repr=False, compare=False)

    def redact(self, value: object) -> object:
        """Return parsed JSON with every secret in it replaced by its tag.

        Nulls stay, also under a sensitive name. JSON inside strings is redacted too and comes
        back compact. Below 64 levels stands `[TOO DEEP]`. The result can be stored: see
        `storable_text`; NaN and infinities, which JSON has not, become strings.
        """
        return self._redact(value, 0)

    def redact_json_text(self, text: str) -> str:
        """Redact JSON text and return it compact; other text as `redact_text` does.

        Of duplicate keys the last one stays, as for every parser that the text was meant for.
        """
        try:
            return self._redact_json(text, 0)
        except ValueError:
            return self.redact_text(text)

    def redact_query(self, query: str) -> str:
        """Redact a query string or form body; order, duplicates and other escapes stay."""
        return "&".join(self._redact_pair(pair) for pair in storable_text(query).split("&"))

    def redact_text(self, text: str) -> str:
        """Redact what in plain text looks like a secret, URL-encoded or not; the rest stays.

        A text that still hides secrets after five layers of encoding is replaced as a whole.
        """
        if text in self._harmless:
            return text
        redacted = self._peeled(storable_text(text))
        if redacted == text and len(text) <= _LONGEST_HARMLESS:
            if len(self._harmless) >= _MOST_HARMLESS:
                self._harmless.clear()
            self._harmless.add(text)
        return redacted

    def tags_of(self, value: str) -> list[str]:
        """Return the tags that stand where the value was, for each version of the key."""
        return self.tagger.tags(canonical(storable_text(value))) if self.tagger else []

    def is_sensitive(self, name: str) -> bool:
        return is_sensitive_name(name) or self.rules.names_secret(name)

    def _peeled(self, text: str) -> str:
        for _ in range(_MOST_LAYERS):
            redacted = self._replaced(text)
            if "%" in redacted or "+" in redacted:
                redacted = _RUN.sub(self._redact_run, redacted)
            if redacted == text:
                return text
            text = redacted
        return self._tag(text)

    def _replaced(self, text: str) -> str:
        if len(text) >= _SHORTEST_SECRET:
            text = replace_secrets(text, self._tag, self.is_sensitive)
        return self.rules.replace(text, self._tag)

    def _redact_run(self, run: re.Match[str]) -> str:
        """Decode what may be URL-encoded; it stays as it was unless that brings a secret out."""
        if "%" not in run[0] and "+" not in run[0]:
            return run[0]
        decoded = storable_text(unquote_plus(run[0]))
        redacted = self._replaced(decoded)
        return run[0] if redacted == decoded else redacted

    def _tag(self, text: str) -> str:
        return self.tagger.tag(text) if self.tagger else REDACTED

    def _replacement(self, value: object) -> str | None:
        """Return the tag of a value whose name is sensitive."""
        if value is None:
            return None
        if isinstance(value, str) and is_tag(value):
            return value
        text = text_of(value)
        return REDACTED if text is None else self._tag(canonical(storable_text(text)))

    def _redact(self, value: object, depth: int) -> object:
        if isinstance(value, str):
            return self._redact_string(value, depth)
        if isinstance(value, int) and not -_SHORTEST_CARD < value < _SHORTEST_CARD:
            return self._redact_long_number(value)
        if isinstance(value, float) and not math.isfinite(value):
            return str(value)
        if not isinstance(value, dict | list | tuple | Mapping):
            return value
        if depth >= MAX_DEPTH:
            return TOO_DEEP
        if isinstance(value, dict | Mapping):
            return self._redact_mapping(value, depth)
        return [self._redact(item, depth + 1) for item in value]

    def _redact_long_number(self, number: int) -> object:
        text = text_of(number)
        redacted = self.redact_text(text) if text else text
        return number if redacted == text else redacted

    def _redact_mapping(self, mapping: Mapping[object, object], depth: int) -> dict[object, object]:
        redacted: dict[object, object] = {}
        for key, value in mapping.items():
            is_secret = isinstance(key, str) and self.is_sensitive(key)
            name = self._redact_key(key, depth) if isinstance(key, str) else key
            redacted[name] = (
                self._replacement(value) if is_secret else self._redact(value, depth + 1)
            )
        # [{"name": "password", "value": ...}], as HAR files and form builders write it.
        name = mapping.get("name", mapping.get("key"))
        if isinstance(name, str) and "value" in mapping and self.is_sensitive(name):
            redacted["value"] = self._replacement(mapping["value"])
        return redacted

    def _redact_key(self, key: str, depth: int) -> str:
        """Redact JSON that became a key: curl sends a JSON body as the name of a form field."""
        if key.lstrip(_JSON_BLANKS)[:1] not in ("{", "["):
            return self.redact_text(key)
        try:
            return self._redact_json(key, depth + 1)
        except ValueError:
            return self._tag(key) if self.is_sensitive(key) else self.redact_text(key)

    def _redact_string(self, text: str, depth: int) -> str:
        if text.strip(_JSON_BLANKS)[:1] not in ("{", "[", '"'):
            return self.redact_text(text)
        try:
            return self._redact_json(text, depth + 1) if depth < MAX_DEPTH else TOO_DEEP
        except ValueError:
            return self.redact_text(text)

    def _redact_json(self, text: str, depth: int) -> str:
        try:
            parsed = parse_json(text)
        except RecursionError:
            parsed = TOO_DEEP
        return json.dumps(self._redact(parsed, depth), ensure_ascii=False, separators=(",", ":"))

    def _redact_pair(self, pair: str) -> str:
        # curl sends JSON under the form content type unless told otherwise.
        decoded = unquote_plus(pair)
        if decoded.startswith(("{", "[")):
            return self._encoded(pair, decoded, self.redact_json_text(decoded))

        name, equals, value = pair.partition("=")
        if not equals:
            return self._encoded(pair, decoded, self.redact_text(decoded))
        decoded_name, decoded = unquote_plus(name), unquote_plus(value)
        if self.is_sensitive(decoded_name):
            return f"{name}={_quoted(self._replacement(decoded) or '')}"
        name = self._encoded(name, decoded_name, self.redact_text(decoded_name))
        return f"{name}={self._encoded(value, decoded, self._redact_string(decoded, 0))}"

    @staticmethod
    def _encoded(raw: str, decoded: str, redacted: str) -> str:
        return raw if redacted == decoded else _quoted(redacted)


def _quoted(text: str) -> str:
    # Tags stay readable, and are found by a search for them.
    return quote_plus(text, safe=":")


def parse_json(text: str) -> object:
    """Parse JSON without losing digits: numbers that Python cannot hold become strings.

    Raise `ValueError` for what is not JSON and `RecursionError` for what nests too deep.
    """
    return json.loads(text.strip(_JSON_BLANKS), parse_int=_exact_integer, parse_float=_exact_float)


def storable_text(text: str) -> str:
    """Replace what PostgreSQL text cannot hold: U+0000 and lone surrogates."""
    # Nearly every text is printable, which costs far less to find out.
    return text if text.isprintable() else _UNSTORABLE.sub("\ufffd", text)


def _exact_integer(digits: str) -> int | str:
    return int(digits) if len(digits) <= _LONGEST_INTEGER else digits


def _exact_float(digits: str) -> float | str:
    number = float(digits)
    try:
        is_exact = math.isfinite(number) and Decimal(repr(number)) == Decimal(digits)
    except DecimalException:
        # An exponent beyond what even Decimal holds.
        is_exact = False
    return number if is_exact else digits

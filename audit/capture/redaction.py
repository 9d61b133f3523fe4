"""Take secrets out of what is about to be recorded, before it is stored, spooled or logged.

Pure functions without Django: the ASGI middleware runs them inside other services. A value
is a secret when the name beside it says so; names are judged by their words, so that
`apiKey`, `API-KEY` and `user[api_key]` are one name and `author` is not `auth`.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Mapping
from decimal import Decimal, DecimalException
from functools import lru_cache
from itertools import pairwise
from urllib.parse import quote_plus, unquote_plus

REDACTED = "[REDACTED]"
TOO_DEEP = "[TOO DEEP]"
MAX_DEPTH = 64

# One word of a name. Long fragments count anywhere in it (`userpassword`); short ones only as
# the whole word or its ending, or `spinning`, `tokenized` and `possession` were secrets too.
_SECRET_WORD = re.compile(
    r"""
      .*(password|passwd|passphrase|passcode|secret(?!ar)|credential|mnemonic).*
    | .*(authori[sz]ation|authentication|cookie|csrf|xsrf|sessionid|sessid|cardnumber).*
    | .*(apikey|privatekey|accesskey).*
    | .*(token|auth|pwd)s?
    | (jwt|bearer|otp|totp|pin|pincode|cvv|cvc|csc|ssn|cred|session|(credit|debit)?card)s?
    """,
    re.VERBOSE,
)
# Two words that follow each other. `key` alone is no secret: cache keys, sort keys.
_SECRET_PAIR = re.compile(
    r"""
      (api|private|priv|access|signing|encryption|master|shared|ssh|hmac)keys?
    | (security|verification|recovery|backup)codes?
    | (seed|recovery)phrases?
    | pass(word|wd|phrase|code)s?
    """,
    re.VERBOSE,
)
_WORD = re.compile(r"[A-Z]{2,}s(?![a-z])|[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\d_A-Za-z]+")
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_JSON_BLANKS = "\ufeff \t\r\n"
_LONGEST_CACHED_NAME = 64
# Python refuses to convert longer digit strings by default.
_LONGEST_INTEGER = 4_000


def redact(value: object) -> object:
    """Return parsed JSON with every value under a sensitive name replaced by `[REDACTED]`.

    Nulls stay, also under a sensitive name. JSON inside strings is redacted too and comes
    back compact. Below 64 levels stands `[TOO DEEP]`. The result can be stored: see
    `storable_text`; NaN and infinities, which JSON has not, become strings.
    """
    return _redact(value, 0)


def redact_json_text(text: str) -> str:
    """Redact JSON text and return it compact; text that is not JSON comes back unchanged.

    Of duplicate keys the last one stays, as for every parser that the text was meant for.
    """
    try:
        return _redact_json(text, 0)
    except ValueError:
        return text


def redact_query(query: str) -> str:
    """Redact a query string or form body; order, duplicates and other escapes stay."""
    return "&".join(_redact_pair(pair) for pair in storable_text(query).split("&"))


def parse_json(text: str) -> object:
    """Parse JSON without losing digits: numbers that Python cannot hold become strings.

    Raise `ValueError` for what is not JSON and `RecursionError` for what nests too deep.
    """
    return json.loads(text.strip(_JSON_BLANKS), parse_int=_exact_integer, parse_float=_exact_float)


def is_sensitive_name(name: str) -> bool:
    """Tell whether a value under this name (key, field, header) is a secret."""
    if len(name) <= _LONGEST_CACHED_NAME:
        return _is_cached_name_sensitive(name)
    return _is_sensitive(name)


def storable_text(text: str) -> str:
    """Replace what PostgreSQL text cannot hold: U+0000 and lone surrogates."""
    return _UNSTORABLE.sub("\ufffd", text)


def _redact(value: object, depth: int) -> object:
    if isinstance(value, str):
        return _redact_text(value, depth)
    if value is None or isinstance(value, int):
        return value
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if not isinstance(value, dict | list | tuple | Mapping):
        return value
    if depth >= MAX_DEPTH:
        return TOO_DEEP
    if isinstance(value, dict | Mapping):
        return _redact_mapping(value, depth)
    return [_redact(item, depth + 1) for item in value]


def _redact_mapping(mapping: Mapping[object, object], depth: int) -> dict[object, object]:
    redacted: dict[object, object] = {}
    for key, value in mapping.items():
        is_secret = isinstance(key, str) and is_sensitive_name(key)
        name = _redact_key(key, depth) if isinstance(key, str) else key
        redacted[name] = _replacement(value) if is_secret else _redact(value, depth + 1)
    # [{"name": "password", "value": ...}], as HAR files and form builders write it.
    name = mapping.get("name", mapping.get("key"))
    if isinstance(name, str) and "value" in mapping and is_sensitive_name(name):
        redacted["value"] = _replacement(mapping["value"])
    return redacted


def _redact_key(key: str, depth: int) -> str:
    """Redact JSON that became a key: curl sends a JSON body as the name of a form field."""
    if key.lstrip(_JSON_BLANKS)[:1] not in ("{", "["):
        return storable_text(key)
    try:
        return _redact_json(key, depth + 1)
    except ValueError:
        return REDACTED if is_sensitive_name(key) else storable_text(key)


def _replacement(value: object) -> str | None:
    return None if value is None else REDACTED


def _redact_text(text: str, depth: int) -> str:
    if text.strip(_JSON_BLANKS)[:1] not in ("{", "[", '"'):
        return storable_text(text)
    try:
        return _redact_json(text, depth + 1) if depth < MAX_DEPTH else TOO_DEEP
    except ValueError:
        return storable_text(text)


def _redact_json(text: str, depth: int) -> str:
    try:
        parsed = parse_json(text)
    except RecursionError:
        parsed = TOO_DEEP
    return json.dumps(_redact(parsed, depth), ensure_ascii=False, separators=(",", ":"))


def _redact_pair(pair: str) -> str:
    # curl sends JSON under the form content type unless told otherwise.
    decoded = unquote_plus(pair)
    if decoded.startswith(("{", "[")):
        redacted = redact_json_text(decoded)
        return pair if redacted == decoded else quote_plus(redacted)

    name, equals, value = pair.partition("=")
    if not equals:
        return pair
    if is_sensitive_name(unquote_plus(name)):
        return f"{name}={quote_plus(REDACTED)}"
    decoded = unquote_plus(value)
    redacted = _redact_text(decoded, 0)
    return pair if redacted == decoded else f"{name}={quote_plus(redacted)}"


def _is_sensitive(name: str) -> bool:
    # Full-width letters and the like read as the plain ones.
    words = [word.lower() for word in _WORD.findall(unicodedata.normalize("NFKC", name))]
    return (
        any(_SECRET_WORD.fullmatch(word) for word in words)
        or any(_SECRET_PAIR.fullmatch(first + second) for first, second in pairwise(words))
        # A password at the end of a name (`db_pass`), a verdict elsewhere (`pass_rate`).
        or words[-1:] == ["pass"]
    )


_is_cached_name_sensitive = lru_cache(maxsize=4096)(_is_sensitive)


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

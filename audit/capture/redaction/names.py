"""Tell by its name that a value is a secret.

A name is judged by its words, so that `apiKey`, `API-KEY` and `user[api_key]` are one name and
`author` is not `auth`. Words that trading payloads use in another sense (a market's session,
a crypto token, a dashboard's cards) are secrets in certain company only.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from itertools import pairwise

# One word of a name. Long fragments count anywhere in it (`userpassword`); short ones only as
# the whole word or its ending, or `spinning`, `tokenized` and `possession` were secrets too.
_SECRET_WORD = re.compile(
    r"""
      .*(password|passwd|passphrase|passcode|secret(?!ar)|credential|mnemonic).*
    | .*(authori[sz]ation|authentication|cookie|csrf|xsrf|sessionid|sessid|cardnumber).*
    | .*(apikey|privatekey|accesskey|sessionkey|sessiontoken).*
    | .*(token|auth|pwd)s?
    | (jwt|bearer|otp|totp|pin|pincode|cvv|cvc|csc|ssn|cred|(credit|debit)card)s?
    """,
    re.VERBOSE,
)
# Two words that follow each other. `key` alone is no secret: cache keys, sort keys.
_SECRET_PAIR = re.compile(
    r"""
      (api|private|priv|access|account|signing|encryption|master|shared|ssh|hmac)keys?
    | (security|verification|recovery|backup)codes?
    | (seed|recovery)phrases?
    | pass(word|wd|phrase|code)s?
    | session(id|key|cookie|hash|ticket)s?
    | (user|login|web|http|admin|customer|client|sso|x)session
    | card(number|num|no|nr|pan|code|data|holder|expiry|exp)s?
    | (credit|debit|payment|bank)cards?
    | accountnumbers? | socialsecurity
    """,
    re.VERBOSE,
)
# Sensitive as the whole name only: `{"session": "..."}`, but `tradingSession`, `cards`.
# `newValue` is what a rotation calls a secret; it is one wherever else it is sent by mistake.
_SECRET_NAME = re.compile(r"session|card|pan|newvalue")
# What takes the secret out of `token` and `pin`: crypto tokens, counted tokens, pin bars.
_HARMLESS_PAIR = re.compile(
    r"""
      token(symbol|address|name|decimals|type|price|amount|balance|count|limit|standard|pair
        |supply|in|out|usage|volume|expiry|expires)s?
    | (base|quote|pool|reward|governance|native|lp|max|min|total|prompt|completion|output|input)
        tokens?
    | pinbars?
    """,
    re.VERBOSE,
)
_WORD = re.compile(r"[A-Z]{2,}s(?![a-z])|[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\d_A-Za-z]+")
_LONGEST_CACHED_NAME = 64


def is_sensitive_name(name: str) -> bool:
    """Tell whether a value under this name (key, field, header) is a secret."""
    if len(name) <= _LONGEST_CACHED_NAME:
        return _is_cached_name_sensitive(name)
    return _is_sensitive(name)


def words_of(name: str) -> list[str]:
    """Split a name of any case style into lower-case words; digits do not count."""
    # Full-width letters and the like read as the plain ones.
    return [word.lower() for word in _WORD.findall(unicodedata.normalize("NFKC", name))]


def _is_sensitive(name: str) -> bool:
    words = words_of(name)
    pairs = [first + second for first, second in pairwise(words)]
    harmless = {
        index
        for first, pair in enumerate(pairs)
        if _HARMLESS_PAIR.fullmatch(pair)
        for index in (first, first + 1)
    }
    return (
        any(
            _SECRET_WORD.fullmatch(word)
            for index, word in enumerate(words)
            if index not in harmless
        )
        or any(map(_SECRET_PAIR.fullmatch, pairs))
        or bool(_SECRET_NAME.fullmatch("".join(words)))
        # A password at the end of a name (`db_pass`), a verdict elsewhere (`pass_rate`).
        or words[-1:] == ["pass"]
    )


_is_cached_name_sensitive = lru_cache(maxsize=4096)(_is_sensitive)

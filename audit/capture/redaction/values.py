"""Find secrets in text by what they look like.

One pass from left to right. It stays linear on hostile text because of how the patterns are
made: each begins with a letter or digit that is looked at once, what repeats without bound is
one set of characters without alternatives, and a look-behind keeps a pattern from starting
again inside a run that it failed on.
"""

from __future__ import annotations

import base64
import binascii
import errno
import os
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from urllib.parse import unquote_plus

from audit.capture.redaction.checksums import (
    IBAN_LENGTHS,
    is_card_number,
    is_iban,
    is_wallet_key,
)
from audit.capture.redaction.tags import TAG_PATTERN, is_tag

# Where a secret stands in a text, and the form of it that is tagged.
Found = tuple[int, int, str]

LONG_CREDENTIAL = 20

# Keys that say by their beginning who made them. Public ones (`pk_live_`) are left alone.
_PREFIXED = r"""
  A(?:KIA|SIA)[A-Z0-9]{16}(?![A-Za-z0-9])
  sk_(?:live|test)_[A-Za-z0-9]{8,}
  rk_(?:live|test)_[A-Za-z0-9]{8,}
  whsec_[A-Za-z0-9+/]{16,}
  gh[pousr]_[A-Za-z0-9]{20,}
  github_pat_[A-Za-z0-9_]{20,}
  gl(?:pat|dt|rt|ptt|cbt|soat|oas)-[A-Za-z0-9_.-]{20,}
  xox[a-z]-[A-Za-z0-9-]{10,}
  xapp-[A-Za-z0-9-]{20,}
  AIza[A-Za-z0-9_-]{35}
  ya29\.[A-Za-z0-9_-]{20,}
  GOCSPX-[A-Za-z0-9_-]{20,}
  npm_[A-Za-z0-9]{30,}
  pypi-[A-Za-z0-9_-]{16,}
  do[opr]_v1_[a-f0-9]{64}
  hv[sb]\.[A-Za-z0-9_-]{24,}
  shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}
  SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}
  sq0(?:atp|csp)-[A-Za-z0-9_-]{22,}
  cc_[0-9a-f]{40,}
  xprv[1-9A-HJ-NP-Za-km-z]{107}
  AGE-SECRET-KEY-1[0-9A-Z]{58}
"""


def _any_of(*needles: str) -> Callable[[str], object]:
    def is_hinted(text: str) -> bool:
        # Every text that is kept passes here: a generator would double the time.
        for needle in needles:  # noqa: SIM110
            if needle in text:
                return True
        return False

    return is_hinted


def _bounded(pattern: str) -> str:
    """Refuse a beginning inside a word, looked at after the first letter: that is faster."""
    return f"{pattern[0]}(?<![A-Za-z0-9]{pattern[0]}){pattern[1:]}"


# Each kind of secret, and what a text must contain (in small letters) to be searched for it.
_KINDS: dict[str, tuple[Callable[[str], object], str]] = {
    "prefixed": (
        _any_of(
            *("akia", "asia", "sk_", "rk_", "whsec_", "ghp_", "gho_", "ghu_", "ghs_", "ghr_"),
            *("github_pat_", "glpat-", "gldt-", "glrt-", "glptt-", "glcbt-", "glsoat-", "gloas-"),
            *("xox", "xapp-", "aiza", "ya29.", "gocspx-", "npm_", "pypi-", "_v1_", "hvs.", "hvb."),
            *("shpat_", "shpca_", "shppa_", "shpss_", "sg.", "sq0", "cc_", "xprv", "age-secret"),
        ),
        "|".join(map(_bounded, _PREFIXED.split())),
    ),
    "jwt": (
        _any_of("eyj"),
        r"e(?<![\w-]e)yJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]*){0,3}",
    ),
    "model_key": (_any_of("sk-"), r"s(?<![\w-]s)k-[A-Za-z0-9_-]{20,}"),
    "telegram": (_any_of(":aa"), r"[0-9](?<![A-Za-z0-9][0-9])[0-9]{7,9}:AA[A-Za-z0-9_-]{33}"),
    "ssn": (
        re.compile(r"[0-9]{2}-[0-9]{4}").search,
        r"[0-8](?<![A-Za-z0-9_.-][0-8])[0-9]{2}-[0-9]{2}-[0-9]{4}(?![A-Za-z0-9_]|\.[0-9]|-\w)",
    ),
    "card": (
        re.compile(r"[0-9]{4}[0-9 -][0-9]{4}").search,
        r"""[2-6](?<![A-Za-z0-9_.+-][2-6])(?:[0-9]{12,18}
          |[0-9]{3}(?P<by4>[\ -])[0-9]{4}(?P=by4)[0-9]{4}(?P=by4)[0-9]{4}(?:(?P=by4)[0-9]{3})?
          |[0-9]{3}(?P<by6>[\ -])[0-9]{6}(?P=by6)[0-9]{4,5})(?![A-Za-z0-9_]|\.[0-9]|-\w)""",
    ),
    "iban": (
        re.compile(r"[a-z]{2}[0-9]{2}(?: ?[a-z0-9]){11}").search,
        r"[A-Za-z](?<![A-Za-z0-9_][A-Za-z])[A-Za-z][0-9]{2}(?:[\ ]?[A-Za-z0-9]){11,30}",
    ),
    "wallet": (
        re.compile(r"[5kl][1-9a-z]{50}").search,
        r"[5KL](?<![A-Za-z0-9][5KL])[1-9A-HJ-NP-Za-km-z]{50,51}(?![A-Za-z0-9])",
    ),
    "userinfo": (
        _any_of("//"),
        r"""/(?<=//)[^\s/@:?\#"'<>]{0,200}:(?P<userinfo>[^\s/?\#"'<>]+)@""",
    ),
    "parameter": (
        _any_of("="),
        r"""[?&;](?P<name>[^\s=&?;\#"'<>/]{1,100})=(?P<parameter>[^\s?&\#"'<>;]+)""",
    ),
    "bearer": (
        _any_of("bearer"),
        r"[Bb](?<![A-Za-z0-9][Bb])(?i:earer)[\ \t]{1,8}(?!hmac-)(?P<bearer>[A-Za-z0-9._~+/-]{8,}=*)",
    ),
    "basic": (
        _any_of("basic"),
        r"[Bb](?<![A-Za-z0-9][Bb])(?i:asic)[\ \t]{1,8}(?!hmac-)(?P<basic>[A-Za-z0-9+/_-]{4,}=*)",
    ),
    "token": (
        _any_of("token"),
        r"[Tt](?<![A-Za-z0-9][Tt])(?i:oken)[\ \t]{1,8}(?!hmac-)(?P<token>[A-Za-z0-9._~+/-]{8,}=*)",
    ),
    "header": (
        _any_of("uthorization", "ookie"),
        r"""[AaCc](?i:uthorization|ookie)\\{0,3}["']?[\ \t]{0,4}[:=][\ \t]{0,4}\\{0,3}["']?
          (?P<header>[^\r\n"']+(?:(?:(?<==)|(?<==\\))"[^"\r\n]*"?[^\r\n"']*)*)""",
    ),
    # `"pin":"1234`, `"secret":["a` in JSON that is cut off or quoted in a text. The name decides.
    "member": (
        re.compile(r"""["'][ \t]{0,4}(?:=>|:)""").search,
        r"""["'](?P<key>[^"'\\\r\n]{1,100})\\{0,3}["'][\ \t]{0,4}(?:=>|:)[\ \t]{0,4}
          (?:"(?P<member_double>[^"\\\r\n]*(?:\\.[^"\\\r\n]*)*)"?
          |'(?P<member_single>[^'\\\r\n]*(?:\\.[^'\\\r\n]*)*)'?
          |\\{1,3}["'](?P<member_inner>[^"'\r\n]*?)(?=\\{0,3}["']|[\r\n]|\Z)
          |(?P<member_nested>[\[{])
          |(?P<member_bare>[^\s"'\\,;<>(){}\[\]]+))""",
    ),
    # `password=...` in messages and connection strings.
    "assigned": (
        re.compile("[=:]").search,
        r"""(?:[Pp](?i:ass(?:word|wd|phrase|code)|wd|rivate[_-]?key|hpsessid)
          |[Ss](?i:ecret(?:[_-]?(?:access[_-]?)?key)?|ession[_-]?(?:id|token|key)|igning[_-]?key)
          |[Aa](?i:pi[_-]?(?:key|secret)|cc(?:ess|ount)[_-]?key|(?:ccess|uth)[_-]?token)
          |[RrIiBbCc](?i:efresh[_-]?token|d[_-]?token|earer[_-]?token|srf[_-]?token|vv2?|vc2?)
          |[JjOo](?i:sessionid|tp)
          |[Tt](?i:oken)(?=[\\"']{0,6}=))
          [\\"']{0,6}[\ \t]{0,4}(?:=>?|:)[\ \t]{0,4}
          (?:"(?P<double>[^"\\\r\n]*(?:\\.[^"\\\r\n]*)*)"?
          |'(?P<single>[^'\\\r\n]*(?:\\.[^'\\\r\n]*)*)'?
          |\\{1,3}(?:"(?P<inner_double>[^"\r\n]*)"?|'(?P<inner_single>[^'\r\n]*)'?)
          |\\{0,3}(?P<bare>[^\s"'\\&,;<>(){}\[\]]+))""",
    ),
}
# Kinds of which not all that matches is the secret: a group inside is.
_PARTLY = {"userinfo", "parameter", "bearer", "basic", "token", "header", "member", "assigned"}
# What may end a list or object; a quoted text is passed over, also when it is cut off.
_NESTING = re.compile(
    r"""[\[{]|[]}]|"[^"\\]*(?:\\.[^"\\]*)*"?|'[^'\\]*(?:\\.[^'\\]*)*'?""", re.DOTALL
)
_PEM = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
    # A key that is cut off is a secret to the end.
    r".*?(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|\Z)",
    re.DOTALL,
)


def replace_secrets(
    text: str,
    tag: Callable[[str], str],
    is_sensitive: Callable[[str], bool],
) -> str:
    """Return the text with each secret that is recognised in it replaced by its tag.

    `is_sensitive` judges the names of parameters and members that stand in the text.
    """
    # Before everything else: `key=-----BEGIN` reads as a short value otherwise.
    if "-----BEGIN " in text:
        text = _PEM.sub(lambda match: tag(match[0]), text)
    kept: list[str] = []
    position = 0
    for start, end, secret in _found(text, is_sensitive):
        kept += text[position:start], tag(secret)
        position = end
    return "".join([*kept, text[position:]]) if kept else text


def canonical(text: str) -> str:
    """Return the form by which a secret is tagged, wherever and however it was written.

    The credential without its scheme, a card number without separators, an IBAN without
    blanks in capitals; anything else as it is.
    """
    scheme = _SCHEME.match(text)
    text = text[scheme.end() :] if scheme else text
    compact = text.replace(" ", "")
    if is_card_number(digits := compact.replace("-", "")):
        return digits
    return compact.upper() if _is_iban(compact) else text


def _found(text: str, is_sensitive: Callable[[str], bool]) -> Iterator[Found]:
    lowered = text.lower()
    kinds = tuple(kind for kind, (is_hinted, _) in _KINDS.items() if is_hinted(lowered))
    if not kinds:
        return
    pattern, position = _pattern(kinds), 0
    while match := pattern.search(text, position):
        position = match.end()
        if match.lastgroup == "tag":
            continue
        found = _judged(match, is_sensitive)
        if found:
            position = found[1]
            yield found
        else:
            position = match.start() + 1


def _judged(match: re.Match[str], is_sensitive: Callable[[str], bool]) -> Found | None:
    """Decide whether what looks like a secret is one, and which part of it."""
    kind = match.lastgroup or ""
    if kind in ("bare", "member_bare") and _is_complaint(match.string, match.start(kind)):
        return None
    if kind.startswith("member_"):
        return _member(match, kind) if is_sensitive(match["key"]) else None
    text = match[kind]
    if not text or is_tag(text) or not _VERDICTS.get(kind, _always)(text):
        return None
    start, end = match.span(kind)
    if kind == "iban":
        return _iban(match)
    if kind == "parameter":
        is_secret = is_sensitive(unquote_plus(match["name"]))
        return (start, end, unquote_plus(text)) if is_secret else None
    return start, end, canonical(text)


def _member(match: re.Match[str], kind: str) -> Found | None:
    """Find the value of a member whose name is sensitive; as in parsed JSON, nulls stay."""
    start, end = match.span(kind)
    if kind == "member_nested":
        end = _end_of_nested(match.string, start)
    text = match.string[start:end]
    is_left = not text or is_tag(text) or (kind == "member_bare" and text in _NULLS)
    return None if is_left else (start, end, canonical(text))


def _end_of_nested(text: str, start: int) -> int:
    """Return where the list or object that starts here ends: with the text, if it is cut off."""
    depth = 0
    for part in _NESTING.finditer(text, start):
        depth += (part[0] in "[{") - (part[0] in "]}")
        if depth == 0:
            return part.end()
    return len(text)


def _iban(match: re.Match[str]) -> Found | None:
    """Cut the match to the length that the country's IBANs have; words may follow it."""
    text = match["iban"]
    left = IBAN_LENGTHS.get(text[:2].upper(), 0)
    end = 0
    while left and end < len(text):
        left -= text[end] != " "
        end += 1
    compact = text[:end].replace(" ", "")
    following = match.string[match.start() + end : match.start() + end + 1]
    if left or following.isalnum() or not _is_iban(compact):
        return None
    return match.start(), match.start() + end, compact.upper()


def _is_iban(compact: str) -> bool:
    return compact.isascii() and compact.isalnum() and is_iban(compact)


def _is_complaint(text: str, start: int) -> bool:
    """Tell whether the system's words for an error stand here, as in `/etc/passwd: Is a directory`."""
    return text.startswith(": ", start - 2) and text.startswith(_COMPLAINTS, start)


def _always(text: str) -> bool:
    return True


def _has_digit(text: str) -> bool:
    return any(sign.isdigit() for sign in text)


def _is_ssn(text: str) -> bool:
    area, group, serial = text.split("-")
    return area not in ("000", "666") and group != "00" and serial != "0000"


def _is_card(text: str) -> bool:
    return is_card_number(text.replace(" ", "").replace("-", ""))


def _is_basic(text: str) -> bool:
    """Tell whether this is base64 of `user:password`, and not the plan called basic."""
    try:
        padded = text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4)
        return b":" in base64.b64decode(padded, altchars=b"-_" if "-" in text else None)
    except binascii.Error:
        return False


def _is_bearer(text: str) -> bool:
    return len(text) >= LONG_CREDENTIAL or _has_digit(text)


def _is_token(text: str) -> bool:
    """Tell a credential from a crypto token's address or a sentence about tokens."""
    return len(text) >= LONG_CREDENTIAL and _has_digit(text) and not _ADDRESS.fullmatch(text)


@lru_cache(maxsize=512)
def _pattern(kinds: tuple[str, ...]) -> re.Pattern[str]:
    branches = [
        _KINDS[kind][1] if kind in _PARTLY else f"(?P<{kind}>{_KINDS[kind][1]})" for kind in kinds
    ]
    return re.compile("|".join([f"(?P<tag>{TAG_PATTERN})", *branches]), re.VERBOSE)


_COMPLAINTS = tuple({os.strerror(code) for code in errno.errorcode})
_NULLS = {"null", "None", "nil"}
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}|[0-9]+(?:\.[0-9]+)?")
_SCHEME = re.compile(r"\s*(?:bearer|basic|token)\s+(?=\S+\s*\Z)", re.IGNORECASE)
_VERDICTS: dict[str, Callable[[str], bool]] = {
    "model_key": _has_digit,
    "ssn": _is_ssn,
    "card": _is_card,
    "wallet": is_wallet_key,
    "basic": _is_basic,
    "bearer": _is_bearer,
    "token": _is_token,
}

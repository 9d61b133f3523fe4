"""Lay recorded JSON out for reading without touching what it says."""

from __future__ import annotations

import json
import re

from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

from audit.capture.redaction.tags import TAG_PATTERN

_PIECE = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+')
_TAKEN_OUT = re.compile(rf"{TAG_PATTERN}|\[TOO DEEP\]")


def indented(text: str) -> str:
    """Indent JSON piece by piece; text that is not JSON comes back unchanged.

    Parsing and dumping would round numbers and drop duplicate keys, and an auditor reads
    what was recorded.
    """
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return text
    return _laid_out(_PIECE.findall(text))


def marked(text: str) -> SafeString:
    """Escape the text and mark what redaction left."""
    shown = _TAKEN_OUT.sub(
        r'<mark title="Taken out before it was recorded">\g<0></mark>', escape(text)
    )
    return mark_safe(shown)  # noqa: S308  escaped above


def _laid_out(pieces: list[str]) -> str:
    out: list[str] = []
    depth = 0
    for piece, following in zip(pieces, [*pieces[1:], ""], strict=True):
        if piece in "{[" and following in "}]":
            out.append(piece)
        elif piece in "{[":
            depth += 1
            out.append(piece + _line(depth))
        elif piece in "}]" and out[-1:] not in (["{"], ["["]):
            depth -= 1
            out.append(_line(depth) + piece)
        else:
            out.append({",": f",{_line(depth)}", ":": ": "}.get(piece, piece))
    return "".join(out)


def _line(depth: int) -> str:
    return "\n" + "  " * depth

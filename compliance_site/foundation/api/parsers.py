"""Read JSON bodies with a bound on their size and depth."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, Any, NoReturn

from rest_framework.exceptions import APIException, ParseError, UnsupportedMediaType
from rest_framework.parsers import BaseParser

LARGEST_BODY = 10 * 1024 * 1024
# zlib's number for "with a gzip header, largest window".
GZIP = 16 + zlib.MAX_WBITS


class BodyTooLarge(APIException):
    status_code = 413
    default_code = "too_large"
    default_detail = f"The body is larger than {LARGEST_BODY} bytes."


class UnsupportedEncoding(UnsupportedMediaType):
    """The body is compressed in a way that is not understood here."""

    default_code = "unsupported_encoding"

    def __init__(self, encoding: str) -> None:
        super().__init__(encoding, f"Content-Encoding {encoding[:40]!r}: send gzip or none.")


class BoundedJSONParser(BaseParser):
    """Refuse with 400 what is not strict JSON (RFC 8259), with 413 what is too large."""

    media_type = "application/json"

    def parse(
        self,
        stream: IO[bytes],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        try:
            return strict_json(self.read(stream, parser_context or {}))
        except ValueError as exc:
            raise ParseError(str(exc)) from exc

    def read(self, stream: IO[bytes], parser_context: Mapping[str, Any]) -> bytes:
        body = stream.read(LARGEST_BODY + 1)
        if len(body) > LARGEST_BODY:
            raise BodyTooLarge
        return body


class CompressedJSONParser(BoundedJSONParser):
    """The same, and `Content-Encoding: gzip`; the bound holds for what it inflates to."""

    def read(self, stream: IO[bytes], parser_context: Mapping[str, Any]) -> bytes:
        encoding = parser_context["request"].META.get("HTTP_CONTENT_ENCODING", "").strip().lower()
        if encoding in ("", "identity"):
            return super().read(stream, parser_context)
        if encoding not in ("gzip", "x-gzip"):
            raise UnsupportedEncoding(encoding)
        return inflated(super().read(stream, parser_context))


@dataclass(frozen=True)
class BrokenLine:
    """A line that is not JSON, and why."""

    error: str


class Lines(list[Any]):
    """What the lines of a body hold, in order; a `BrokenLine` where one holds no JSON."""


class JSONLinesParser(CompressedJSONParser):
    """One JSON text a line (NDJSON); blank lines do not count."""

    media_type = "application/x-ndjson"

    def parse(
        self,
        stream: IO[bytes],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        body = self.read(stream, parser_context or {})
        return Lines(_line(line) for line in body.split(b"\n") if line and not line.isspace())


def strict_json(text: str | bytes) -> Any:
    """Parse JSON; raise `ValueError` with a sentence for whoever sent it.

    Bytes are UTF-8 and nothing else (RFC 8259, 8.1); a byte order mark is passed over.
    """
    try:
        # Decoded here: `json` would guess UTF-16 or UTF-32, and let surrogates pass.
        if isinstance(text, bytes):
            text = text.decode("utf-8-sig")
        return json.loads(text, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("The JSON is nested too deeply.") from None
    except ValueError as exc:
        raise ValueError(f"This is not JSON: {exc}") from exc


def inflated(compressed: bytes) -> bytes:
    """Return what a gzip body holds, without ever inflating beyond the bound.

    It is one gzip member: a body of a million empty ones would keep us busy for nothing.
    """
    member = zlib.decompressobj(GZIP)
    try:
        body = member.decompress(compressed, LARGEST_BODY + 1)
    except zlib.error:
        raise ParseError("The body is not gzip.") from None
    if len(body) > LARGEST_BODY:
        raise BodyTooLarge
    if not member.eof:
        raise ParseError("The gzip body ends too early.")
    if member.unused_data:
        raise ParseError("Something follows the gzip body.")
    return body


def _line(line: bytes) -> Any:
    try:
        return strict_json(line)
    except ValueError as exc:
        return BrokenLine(str(exc))


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number.")

"""The body of a Django request, copied as the view reads it.

The stream is never read a second time and never read by us: a multipart view makes
`request.body` raise, and a large upload must not be held in memory for the log.
"""

from __future__ import annotations

import json
from typing import IO, Any

from django.http import HttpRequest

from audit.capture.body_copy import BodyCopy, single_values
from audit.capture.redaction import redact

MULTIPART = "multipart/form-data"


class CopyingStream:
    """Stands in for a request's stream and shows the copy what passes."""

    def __init__(self, stream: IO[bytes], copy: BodyCopy) -> None:
        self.stream = stream
        self.copy = copy

    def read(self, *args: Any) -> bytes:
        return self._shown(self.stream.read(*args))

    def readline(self, *args: Any) -> bytes:
        return self._shown(self.stream.readline(*args))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def _shown(self, chunk: bytes) -> bytes:
        self.copy.add(chunk)
        return chunk


def copy_body(request: HttpRequest, limit: int) -> BodyCopy:
    """Put a copying stream in the place of the request's own."""
    copy = BodyCopy(limit)
    stream: Any = CopyingStream(request._stream, copy)
    request._stream = stream
    return copy


def body_text(request: HttpRequest, copy: BodyCopy) -> str:
    """Return what the view read as redacted JSON text, "" when it read nothing."""
    kind = request.content_type or ""
    if kind == MULTIPART and copy.limit and copy.total:
        return json.dumps(redact(_multipart(request, copy)), ensure_ascii=False)
    return copy.as_request_data(kind) or ""


def _multipart(request: HttpRequest, copy: BodyCopy) -> dict[str, object]:
    """Describe a form from what the view already parsed; parsing it here could fail."""
    parsed = request.__dict__
    if "_post" not in parsed or "_files" not in parsed:
        return {"_contentType": MULTIPART, "_bytes": copy.total}
    files = {
        name: {"name": file.name, "size": file.size, "contentType": file.content_type}
        for name, file in parsed["_files"].items()
    }
    return single_values(dict(parsed["_post"].lists())) | files

"""The bodies of a Django request and of its answer, copied as they pass.

The request's stream is never read a second time and never read by us: a multipart view makes
`request.body` raise, and a large upload must not be held in memory for the log.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import IO, Any

from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest

from audit.capture.body_copy import BodyCopy, compact_json, single_values
from audit.capture.redaction import redact

logger = logging.getLogger(__name__)

MULTIPART = "multipart/form-data"
CAPTURE_FAILED = '{"_captureFailed":true}'


class SafeCopy:
    """A bounded copy of a body that never raises: capturing must not break a view."""

    def __init__(self, limit: int) -> None:
        self.copy = BodyCopy(limit)
        self.has_failed = False

    def add(self, chunk: bytes) -> None:
        if self.has_failed:
            return
        try:
            self.copy.add(chunk)
        # Whatever goes wrong here, the view whose bytes these are has to go on.
        except Exception:
            self._fail()

    def text(self, describe: Callable[[BodyCopy], str], longest: int) -> str:
        """Return what `describe` makes of the copy, or a note that capturing failed.

        Text above `longest` bytes is replaced: cut JSON could not be read any more.
        """
        if self.has_failed:
            return CAPTURE_FAILED
        try:
            text = describe(self.copy)
        except Exception:
            self._fail()
            return CAPTURE_FAILED
        if len(text.encode()) > longest:
            return compact_json({"_truncated": True, "_bytes": self.copy.total})
        return text

    def _fail(self) -> None:
        self.has_failed = True
        logger.exception("A body could not be captured.")


class CopyingStream:
    """Stands in for a request's stream and shows the copy what passes."""

    def __init__(self, stream: IO[bytes], copy: SafeCopy) -> None:
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


def copy_body(request: HttpRequest, limit: int) -> SafeCopy:
    """Put a copying stream in the place of the request's own."""
    copy = SafeCopy(limit)
    stream: Any = CopyingStream(request._stream, copy)
    request._stream = stream
    return copy


def body_text(request: HttpRequest, copy: SafeCopy, longest: int) -> str:
    """Return what the view read as redacted JSON text, "" when it read nothing."""
    kind = request.content_type or ""

    def describe(body: BodyCopy) -> str:
        if kind == MULTIPART and body.limit and body.total:
            return compact_json(redact(_multipart(request, body)))
        return body.as_request_data(kind) or ""

    return copy.text(describe, longest)


def _multipart(request: HttpRequest, copy: BodyCopy) -> dict[str, object]:
    """Describe a form from what the view already parsed; parsing it here could fail."""
    parsed = request.__dict__
    fields: dict[str, list[object]] = {}
    # One name may have values and files, and several of each.
    for name, values in parsed["_post"].lists() if "_post" in parsed else ():
        fields.setdefault(name, []).extend(values)
    for name, files in parsed["_files"].lists() if "_files" in parsed else ():
        fields.setdefault(name, []).extend(map(_file, files))
    # Django leaves an empty form behind where it could not parse one.
    return single_values(fields) or {"_contentType": MULTIPART, "_bytes": copy.total}


def _file(file: UploadedFile[Any]) -> dict[str, object]:
    return {"name": file.name, "size": file.size, "contentType": file.content_type}

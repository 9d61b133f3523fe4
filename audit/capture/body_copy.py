"""What the log keeps of a request body: redacted JSON, or a note saying why there is none.

Text that could not be read as JSON or form is never recorded as it is: nothing would have
been redacted in it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from urllib.parse import parse_qsl

from audit.capture.redaction import parse_json, redact, storable_text

MAX_BODY_BYTES = 16 * 1024
MAX_FORM_FIELDS = 1000
FORM = "application/x-www-form-urlencoded"


class BodyCopy:
    """A copy of a body as it is read, up to a bound; `total` counts all of it."""

    def __init__(self, limit: int = MAX_BODY_BYTES) -> None:
        self._kept = bytearray()
        self.limit = limit
        self.total = 0

    def add(self, chunk: bytes) -> None:
        self.total += len(chunk)
        room = self.limit - len(self._kept)
        if room > 0:
            self._kept += chunk[:room]

    def as_request_data(self, content_type: str) -> str | None:
        """Return the redacted body as JSON text; None when nothing was read.

        In place of a body that is not recorded stands an object with `_bytes` and one of
        `_truncated`, `_unreadable` or `_contentType`.
        """
        if not self.total:
            return None
        if self.total > len(self._kept):
            return compact_json({"_truncated": True, "_bytes": self.total})
        try:
            return compact_json(redact(self._parse(content_type)))
        except (ValueError, RecursionError):
            return compact_json({"_unreadable": True, "_bytes": self.total})

    def _parse(self, content_type: str) -> object:
        media_type = content_type.partition(";")[0].strip().lower()
        is_json = media_type == "application/json" or media_type.endswith("+json")
        # curl sends JSON as a form unless told otherwise, beacons send it as plain text.
        body = bytes(self._kept)
        if is_json or body.lstrip()[:1] in (b"{", b"["):
            return parse_json(body.decode(json.detect_encoding(body), "surrogatepass"))
        if media_type == FORM:
            return _parse_form(body.decode())
        return {"_contentType": storable_text(media_type)[:100], "_bytes": self.total}


def _parse_form(text: str) -> dict[str, object]:
    values: dict[str, list[str]] = {}
    for name, value in parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_FORM_FIELDS):
        values.setdefault(name, []).append(value)
    return single_values(values)


def single_values(lists: Mapping[str, Sequence[object]]) -> dict[str, object]:
    """Return a form's fields with a lone value in the place of a list of one."""
    return {name: values[0] if len(values) == 1 else values for name, values in lists.items()}


def compact_json(value: object) -> str:
    """Write JSON as redaction does: a second redaction changes nothing."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))

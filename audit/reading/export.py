"""Stream entries as CSV or JSON in constant memory, and record what was handed out."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import batched
from typing import Any

from django.db import models
from django.http import StreamingHttpResponse
from django.utils import timezone

from audit.capture.actors import Actor, Circumstances, current
from audit.capture.recording import record
from audit.models import Action, AuditLog, AuditLogQuerySet
from audit.reading.shape import SHAPE, plain

ROWS_PER_CHUNK = 500

# A spreadsheet runs a cell that begins with one of these (OWASP ASVS 5.0, 1.2.10). The
# apostrophe itself is on the list, so that taking one away always restores the value.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\0", "'")


class Format(models.TextChoices):
    CSV = "csv"
    JSON = "json"

    @property
    def content_type(self) -> str:
        return "text/csv; charset=utf-8" if self is Format.CSV else "application/json"


@dataclass
class Export:
    """One hand-over of entries: iterate it once, the event is recorded when that ends.

    The entries are bounded by `as_of` (see `pages.up_to`), so that the export does not
    chase its own records.
    """

    logs: AuditLogQuerySet
    as_of: int
    format: Format
    query: dict[str, Any]
    resource: str
    rows: int = 0
    completed: bool = False
    # Taken now: the stream runs after the request's own context is closed.
    circumstances: Circumstances = field(default_factory=current)
    actor: Actor = field(init=False)
    digest: Any = field(init=False, default_factory=hashlib.sha256)

    def __post_init__(self) -> None:
        self.actor = self.circumstances.actor()

    def __iter__(self) -> Iterator[bytes]:
        encode = csv_chunks if self.format is Format.CSV else json_chunks
        try:
            for chunk in encode(self._counted_rows()):
                self.digest.update(chunk)
                yield chunk
            self.completed = True
        finally:
            self._record()

    def _counted_rows(self) -> Iterator[tuple[Any, ...]]:
        for row in self.logs.values_list(*SHAPE.values()).iterator(chunk_size=ROWS_PER_CHUNK):
            self.rows += 1
            yield row

    def _record(self) -> None:
        """Say what left, also when the reader went away half-way (`completed` is false)."""
        details = {
            "format": self.format.value,
            "query": self.query,
            "asOf": self.as_of,
            "rows": self.rows,
            "sha256": self.digest.hexdigest(),
            "completed": self.completed,
        }
        record(
            Action.EXPORT,
            resource=self.resource,
            details=details,
            actor=self.actor,
            circumstances=self.circumstances,
        )


def file_response(export: Export) -> StreamingHttpResponse:
    """Answer a request with the export as a file to save."""
    name = f"audit-logs-{timezone.now():%Y%m%dT%H%M%SZ}.{export.format.value}"
    return StreamingHttpResponse(
        # The generator itself: it is what the response closes when the reader goes away.
        iter(export),
        content_type=export.format.content_type,
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def fingerprint(logs: Sequence[AuditLog]) -> dict[str, object]:
    """Return how many entries a page handed out, and the hash of their JSON."""
    rows = [{name: plain(getattr(log, field)) for name, field in SHAPE.items()} for log in logs]
    text = json.dumps(rows, ensure_ascii=False, separators=(",", ":"))
    return {"rows": len(rows), "sha256": hashlib.sha256(text.encode()).hexdigest()}


def csv_chunks(rows: Iterable[tuple[Any, ...]]) -> Iterator[bytes]:
    """Encode as RFC 4180, the header at once; every text safe to open in a spreadsheet."""
    yield _csv_text([tuple(SHAPE)])
    for batch in batched(rows, ROWS_PER_CHUNK):
        yield _csv_text([tuple(_cell(value) for value in row) for row in batch])


def json_chunks(rows: Iterable[tuple[Any, ...]]) -> Iterator[bytes]:
    """Encode as one JSON array, an entry a line."""
    separator = "[\n"
    for batch in batched(rows, ROWS_PER_CHUNK):
        lines = [json.dumps(_object(row), ensure_ascii=False) for row in batch]
        yield (separator + ",\n".join(lines)).encode()
        separator = ",\n"
    yield b"[]\n" if separator == "[\n" else b"\n]\n"


def _object(row: tuple[Any, ...]) -> dict[str, Any]:
    return {name: plain(value) for name, value in zip(SHAPE, row, strict=True)}


def _cell(value: Any) -> Any:
    value = plain(value)
    if isinstance(value, str) and value.startswith(FORMULA_STARTS):
        return f"'{value}"
    return value


def _csv_text(rows: list[tuple[Any, ...]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue().encode()

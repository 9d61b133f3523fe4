"""What left as the answer: its bytes counted and, if the policy says so, a bounded copy.

A streaming response has not sent anything when the view returns. Its iterator is watched,
and the outcome is known when that ends, fails or is closed by a server whose client left.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, cast

from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase

from audit.capture.actors import Circumstances, in_circumstances
from audit.capture.bodies import SafeCopy
from audit.capture.body_copy import BodyCopy
from audit.capture.recording import LONGEST


class StreamEnd(StrEnum):
    """How a streaming response came to its end."""

    COMPLETED = "completed"
    FAILED = "failed"
    ABANDONED = "abandoned"


@dataclass(frozen=True)
class Outcome:
    """What an entry says of the answer; `status_code` is None when there was none."""

    status_code: int | None = None
    sent: int | None = None
    data: str = ""
    details: dict[str, object] = field(default_factory=dict)


def outcome_of(request: HttpRequest, response: HttpResponseBase, limit: int) -> Outcome:
    """Describe an answer that is all there; with a limit of 0 only its size is kept."""
    # The server sends no body in answer to HEAD, whatever the view made.
    content = b"" if request.method == "HEAD" else cast(HttpResponse, response).content
    copy = SafeCopy(limit)
    copy.add(content)
    return Outcome(response.status_code, len(content), response_text(response, copy))


def response_text(response: HttpResponseBase, copy: SafeCopy) -> str:
    """Return the copy as redacted JSON text, "" when the level keeps no response bodies."""
    if not copy.copy.limit:
        return ""
    kind = response.headers.get("Content-Type", "")

    def describe(body: BodyCopy) -> str:
        return body.as_request_data(kind) or ""

    return copy.text(describe, LONGEST["response_data"])


class StreamWatch:
    """Counts and copies what a stream sends, and calls `record` once, when it is over."""

    def __init__(
        self,
        request: HttpRequest,
        response: StreamingHttpResponse,
        copy: SafeCopy,
        record: Callable[[Outcome], None],
    ) -> None:
        self.request = request
        self.response = response
        self.copy = copy
        self.record = record
        self.sent = 0
        self.is_over = False

    def passed(self, chunk: bytes) -> bytes:
        self.sent += len(chunk)
        self.copy.add(chunk)
        return chunk

    def end(self, end: StreamEnd, failure: Exception | None = None) -> None:
        if self.is_over:
            return
        self.is_over = True
        details: dict[str, object] = {"stream": end.value}
        if failure:
            details["exception"] = type(failure).__name__
        text = response_text(self.response, self.copy)
        self.record(Outcome(self.response.status_code, self.sent, text, details))

    def closed(self) -> None:
        """Note that the server closed the stream, which it may do after the last byte too."""
        length = self.response.headers.get("Content-Length")
        is_whole = self.request.method == "HEAD" or length == str(self.sent)
        self.end(StreamEnd.COMPLETED if is_whole else StreamEnd.ABANDONED)


class WatchedStream:
    """A response's iterator; its steps run in the request's circumstances."""

    def __init__(
        self, chunks: Iterator[bytes], watch: StreamWatch, circumstances: Circumstances
    ) -> None:
        self.chunks = chunks
        self.watch = watch
        self.circumstances = circumstances

    def __iter__(self) -> WatchedStream:
        return self

    def __next__(self) -> bytes:
        try:
            with in_circumstances(self.circumstances):
                chunk = next(self.chunks)
        except StopIteration:
            self.watch.end(StreamEnd.COMPLETED)
            raise
        except Exception as exc:
            self.watch.end(StreamEnd.FAILED, exc)
            raise
        return self.watch.passed(chunk)

    def close(self) -> None:
        self.watch.closed()


class WatchedAsyncStream:
    """The same for an asynchronous iterator; Django calls `close` in a thread."""

    def __init__(
        self, chunks: AsyncIterator[bytes], watch: StreamWatch, circumstances: Circumstances
    ) -> None:
        self.chunks = chunks
        self.watch = watch
        self.circumstances = circumstances

    def __aiter__(self) -> WatchedAsyncStream:
        return self

    async def __anext__(self) -> bytes:
        try:
            with in_circumstances(self.circumstances):
                chunk = await anext(self.chunks)
        except StopAsyncIteration:
            await sync_to_async(self.watch.end)(StreamEnd.COMPLETED)
            raise
        except Exception as exc:
            await sync_to_async(self.watch.end)(StreamEnd.FAILED, exc)
            raise
        # A cancellation passes: Django closes the response after it.
        return self.watch.passed(chunk)

    def close(self) -> None:
        self.watch.closed()


def follow(
    response: StreamingHttpResponse, watch: StreamWatch, circumstances: Circumstances
) -> None:
    """Put a watched iterator in the place of the response's own.

    A file is watched as well: this takes it away from `wsgi.file_wrapper`, which would send
    it past us.
    """
    chunks: Any = response.streaming_content
    kind = WatchedAsyncStream if response.is_async else WatchedStream
    response.streaming_content = cast(Any, kind(chunks, watch, circumstances))

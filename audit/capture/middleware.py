"""Record every request, sync or async, as `settings.AUDIT_POLICY` asks for it.

The entry is durable before the answer leaves. Where the policy says `write_ahead`, an intent
is committed before the view runs; a streaming answer has one before its first byte leaves,
and its entry is written when the stream is over.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.db import Error as DatabaseAwayError
from django.db import connection
from django.http import HttpRequest, JsonResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase

from audit.capture import policy, writer
from audit.capture.actors import ANONYMOUS, Actor, in_circumstances
from audit.capture.bodies import SafeCopy
from audit.capture.policy import Level, Strictness
from audit.capture.requests import RequestCapture
from audit.capture.responses import Outcome, StreamWatch, follow, outcome_of
from audit.exceptions import UnrecordedError
from audit.models import AuditLog

logger = logging.getLogger(__name__)

GetResponse = Callable[[HttpRequest], HttpResponseBase]
GetResponseAsync = Callable[[HttpRequest], Awaitable[HttpResponseBase]]


class AuditMiddleware:
    sync_capable = True
    async_capable = True

    def __init__(self, get_response: GetResponse | GetResponseAsync) -> None:
        self.get_response = get_response
        self.rule_for = lru_cache(maxsize=1024)(policy.load().rule_for)
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if self.is_async:
            return self.serve_async(request)
        get_response = cast(GetResponse, self.get_response)
        capture = self.begin(request)
        if capture is None:
            return get_response(request)
        with in_circumstances(capture.circumstances):
            if is_write_ahead(capture) and not announced(capture):
                return unrecorded()
            try:
                response = get_response(request)
            # An asynchronous view under a chain that another middleware made synchronous.
            except asyncio.CancelledError:
                record_cancelled(capture)
                raise
            return finish(capture, response)

    async def serve_async(self, request: HttpRequest) -> HttpResponseBase:
        get_response = cast(GetResponseAsync, self.get_response)
        capture = self.begin(request)
        if capture is None:
            return await get_response(request)
        with in_circumstances(capture.circumstances):
            if is_write_ahead(capture) and not await sync_to_async(announced)(capture):
                return unrecorded()
            try:
                response = await get_response(request)
            except asyncio.CancelledError:
                await sync_to_async(record_cancelled)(capture)
                raise
            return await sync_to_async(finish)(capture, response)

    def begin(self, request: HttpRequest) -> RequestCapture | None:
        """Start to capture a request; None when the policy declares it excluded."""
        rule = self.rule_for(request.method or "", request.path_info)
        return None if rule.level is Level.NONE else RequestCapture.begin(request, rule)

    def process_exception(self, request: HttpRequest, exception: Exception) -> None:
        """Note the class of an exception that no view caught; its text may hold anything."""
        if circumstances := request.__dict__.get("_circumstances"):
            circumstances.notes["exception"] = type(exception).__name__


def is_write_ahead(capture: RequestCapture) -> bool:
    return capture.rule.strictness is Strictness.WRITE_AHEAD


def announced(capture: RequestCapture) -> bool:
    """Commit the request's intent; False when the database does not take it."""
    try:
        capture.announce()
    except (DatabaseAwayError, UnrecordedError):
        logger.exception("The intent of %s could not be written.", capture.request.path)
        return False
    return True


def finish(capture: RequestCapture, response: HttpResponseBase) -> HttpResponseBase:
    """Make the request's entry durable; answer 503 in the view's stead when that fails."""
    response.headers["X-Request-ID"] = capture.circumstances.request_id
    try:
        close_broken_connection()
        if response.streaming:
            watch_stream(capture, cast(StreamingHttpResponse, response))
        else:
            outcome = outcome_of(capture.request, response, capture.response_limit)
            writer.commit(capture.entry(actor_of(capture), outcome))
    except (DatabaseAwayError, UnrecordedError):
        logger.exception("The audit entry of %s could not be written.", capture.request.path)
        response.close()
        return unrecorded()
    return response


def actor_of(capture: RequestCapture) -> Actor:
    """Return who acted; nobody known, and a note, when the database cannot say it.

    Without it the session of whoever called cannot be read. That they called is recorded.
    """
    try:
        return capture.circumstances.actor()
    except DatabaseAwayError:
        capture.circumstances.notes["actor"] = "unknown: the database was away"
        return ANONYMOUS


def watch_stream(capture: RequestCapture, response: StreamingHttpResponse) -> None:
    """Commit an intent and have the entry written when the stream is over."""
    capture.announce()
    # Known now; asked for later it could cost a query in the middle of the stream.
    actor = capture.circumstances.actor()

    def record(outcome: Outcome) -> None:
        record_safely(capture, lambda: capture.entry(actor, outcome))

    watch = StreamWatch(capture.request, response, SafeCopy(capture.response_limit), record)
    follow(response, watch, capture.circumstances)


def record_cancelled(capture: RequestCapture) -> None:
    """Record a request that was given up before it had an answer: its client left."""
    outcome = Outcome(details={"outcome": "cancelled"})
    record_safely(capture, lambda: capture.entry(capture.circumstances.actor(), outcome))


def record_safely(capture: RequestCapture, make_entry: Callable[[], AuditLog]) -> None:
    """Commit an entry when there is no answer left to refuse; its intent stays if that fails."""
    try:
        close_broken_connection()
        writer.commit(make_entry())
    # The bytes have left: an error here could only break a stream that was served well.
    except Exception:
        logger.exception("The audit entry of %s could not be written.", capture.request.path)


def close_broken_connection() -> None:
    """Let the next query try a fresh connection: the view may have lost this one."""
    if connection.errors_occurred and not connection.in_atomic_block:
        connection.close_if_unusable_or_obsolete()


def unrecorded() -> JsonResponse:
    message = "The audit log cannot take the entry of this request. Try again later."
    error = {"code": "audit_unavailable", "message": message, "fields": {}}
    return JsonResponse({"error": error}, status=503, headers={"Retry-After": "5"})

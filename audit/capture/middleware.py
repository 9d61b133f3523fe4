"""Record every request, sync or async: its entry is committed before the answer leaves."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.conf import settings
from django.db import DatabaseError, connection
from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase

from audit.capture import writer
from audit.capture.actors import in_circumstances
from audit.capture.requests import RequestCapture
from audit.exceptions import UnrecordedError

logger = logging.getLogger(__name__)

GetResponse = Callable[[HttpRequest], HttpResponseBase]
GetResponseAsync = Callable[[HttpRequest], Awaitable[HttpResponseBase]]


class AuditMiddleware:
    sync_capable = True
    async_capable = True

    def __init__(self, get_response: GetResponse | GetResponseAsync) -> None:
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if self.is_async:
            return self.serve_async(request)
        get_response = cast(GetResponse, self.get_response)
        if is_excluded(request.path):
            return get_response(request)
        capture = RequestCapture.begin(request, body_limit=body_limit(request.path))
        with in_circumstances(capture.circumstances):
            return finish(capture, get_response(request))

    async def serve_async(self, request: HttpRequest) -> HttpResponseBase:
        get_response = cast(GetResponseAsync, self.get_response)
        if is_excluded(request.path):
            return await get_response(request)
        capture = RequestCapture.begin(request, body_limit=body_limit(request.path))
        with in_circumstances(capture.circumstances):
            response = await get_response(request)
            return await sync_to_async(finish)(capture, response)

    def process_exception(self, request: HttpRequest, exception: Exception) -> None:
        """Note the class of an exception that no view caught; its text may hold anything."""
        if circumstances := request.__dict__.get("_circumstances"):
            circumstances.notes["exception"] = type(exception).__name__


def is_excluded(path: str) -> bool:
    """Tell whether `AUDIT_EXCLUDED_PATHS` declares that the path is not recorded."""
    return any(
        path == base or path.startswith(f"{base}/") for base in settings.AUDIT_EXCLUDED_PATHS
    )


def body_limit(path: str) -> int:
    return 0 if path in settings.AUDIT_BODILESS_PATHS else settings.AUDIT_BODY_LIMIT


def finish(capture: RequestCapture, response: HttpResponseBase) -> HttpResponseBase:
    """Commit the request's entry; answer 503 in the view's stead when that fails."""
    response.headers["X-Request-ID"] = capture.circumstances.request_id
    try:
        # The view may have lost this connection and told the client so: try a fresh one.
        if connection.errors_occurred and not connection.in_atomic_block:
            connection.close_if_unusable_or_obsolete()
        writer.commit(capture.entry(response))
    except (DatabaseError, UnrecordedError):
        logger.exception("The audit entry of %s could not be written.", capture.request.path)
        response.close()
        return unrecorded()
    return response


def unrecorded() -> JsonResponse:
    message = "The audit log cannot take the entry of this request. Try again later."
    error = {"code": "audit_unavailable", "message": message, "fields": {}}
    return JsonResponse({"error": error}, status=503, headers={"Retry-After": "5"})

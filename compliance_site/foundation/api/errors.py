"""The one error shape of the API: `{"error": {"code", "message", "fields"}}`.

`fields` maps the name of a parameter or body field to what is wrong with it.
"""

from __future__ import annotations

import sys
from typing import Any

from django.core.exceptions import PermissionDenied as DjangoPermissionDenied
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string
from django.views import defaults
from rest_framework.exceptions import APIException, NotFound, PermissionDenied, ValidationError
from rest_framework.response import Response
from rest_framework.views import exception_handler

Fields = dict[str, list[str]]

DATABASE_AWAY = (
    "The database does not answer. If this was to change something, look before you ask again "
    "whether it did."
)
RETRY_AFTER = "5"
# Classes of SQLSTATE: the connection broke, or the server is stopping or starting.
CONNECTION_LOST = ("08", "57P")


class Conflict(APIException):
    """The request contradicts what is already recorded."""

    status_code = 409
    default_code = "conflict"


def error_body(code: str, message: str, fields: Fields | None = None) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "fields": fields or {}}}


def error_response(exception: Exception, context: dict[str, Any]) -> Response | None:
    """Turn what DRF and Django raise to refuse into the shape; the rest is a bug and rises."""
    if isinstance(exception, Http404):
        exception = NotFound()
    elif isinstance(exception, DjangoPermissionDenied):
        exception = PermissionDenied()
    response = exception_handler(exception, context)
    if response is not None and isinstance(exception, APIException):
        response.data = _body_of(exception)
    return response


def _body_of(exception: APIException) -> dict[str, Any]:
    if not isinstance(exception, ValidationError):
        return error_body(str(exception.get_codes()), str(exception.detail))
    fields = flat_fields(exception.detail)
    message = "; ".join(
        f"{name}: {texts[0]}" if name else texts[0] for name, texts in fields.items()
    )
    return error_body("invalid", message, {name: texts for name, texts in fields.items() if name})


def flat_fields(detail: Any, prefix: str = "") -> Fields:
    """Flatten DRF's nested errors to dotted names; what concerns no field has the name "".

    What they quote of the request can be encoded afterwards: a lone surrogate becomes "?".
    """
    if isinstance(detail, dict):
        fields: Fields = {}
        for name, inner in detail.items():
            name = "" if name in {"non_field_errors", "__all__"} else _encodable(str(name))
            fields |= flat_fields(inner, ".".join(part for part in (prefix, name) if part))
        return fields
    if isinstance(detail, list):
        return {prefix: [_encodable(str(text)) for text in detail]} if detail else {}
    return {prefix: [_encodable(str(detail))]}


def _encodable(text: str) -> str:
    return text.encode(errors="replace").decode()


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer an unknown address: a page in the admin, the error shape everywhere else."""
    if request.path.startswith("/admin/"):
        return defaults.page_not_found(request, exception)
    return JsonResponse(error_body("not_found", f"There is nothing at {request.path}."), status=404)


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer what nobody caught: 503 when the database was away, 500 for a bug."""
    if _is_database_away(sys.exception()):
        return unavailable(request, "unavailable", DATABASE_AWAY, "503_database.html")
    if request.path.startswith("/admin/"):
        return defaults.server_error(request)
    message = "The console failed to answer. The log has the details under this request's id."
    return JsonResponse(error_body("server_error", message), status=500)


def unavailable(request: HttpRequest, code: str, message: str, template: str) -> HttpResponse:
    """Answer 503 with a page to a browser, with the API's error shape to everybody else."""
    if request.path_info.startswith("/admin/"):
        # Without the request: whoever is signed in is in the database.
        response = HttpResponse(render_to_string(template), status=503)
    else:
        response = JsonResponse(error_body(code, message), status=503)
    response.headers["Retry-After"] = RETRY_AFTER
    return response


def _is_database_away(exception: BaseException | None) -> bool:
    """Tell whether the database was gone or silent, rather than refused something."""
    if not isinstance(exception, (OperationalError, InterfaceError)):
        return False
    # Of the driver's own, an error has none.
    sqlstate = getattr(exception.__cause__, "sqlstate", None) or ""
    return not sqlstate or sqlstate.startswith(CONNECTION_LOST)

"""The one error shape of the API: `{"error": {"code", "message", "fields"}}`.

`fields` maps the name of a parameter or body field to what is wrong with it.
"""

from __future__ import annotations

from typing import Any

from django.core.exceptions import PermissionDenied as DjangoPermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.views import defaults
from rest_framework.exceptions import APIException, NotFound, PermissionDenied, ValidationError
from rest_framework.response import Response
from rest_framework.views import exception_handler

Fields = dict[str, list[str]]


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
    if request.path.startswith("/admin/"):
        return defaults.server_error(request)
    message = "The console failed to answer. The log has the details under this request's id."
    return JsonResponse(error_body("server_error", message), status=500)

"""Views to capture, under a URL configuration of their own."""

from django.contrib import admin
from django.db import DatabaseError, connection
from django.http import HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from rest_framework.decorators import api_view, permission_classes
from rest_framework.permissions import AllowAny
from rest_framework.response import Response

import audit


@csrf_exempt
def echo_length(request):
    return JsonResponse({"read": len(request.body)})


@csrf_exempt
def echo_form(request):
    return JsonResponse({"post": dict(request.POST.lists()), "files": list(request.FILES)})


@csrf_exempt
def read_nothing(request, **parameters):
    return HttpResponse()


@csrf_exempt
def read_in_pieces(request):
    pieces = iter(lambda: request.read(1000), b"")
    return JsonResponse({"read": sum(len(piece) for piece in pieces)})


def fail(request):
    raise LookupError("with a secret in its text")


def stream(request):
    return StreamingHttpResponse(iter([b"a", b"b"]))


def record_two(request):
    audit.record("START", resource="/bot/7")
    audit.record("STOP", resource="/bot/7", details={"apiKey": "sk_live_1", "reason": "night"})
    return HttpResponse()


def break_connection(request):
    try:
        connection.cursor().execute("SELECT pg_terminate_backend(pg_backend_pid())")
    except DatabaseError:
        return HttpResponse("lost")


async def asynchronous(request):
    return JsonResponse({"user": str(await request.auser())})


@api_view(["POST"])
@permission_classes([AllowAny])
def parse_json(request):
    return Response(request.data)


urlpatterns = [
    path("admin/", admin.site.urls),
    path("echo", echo_length),
    path("form", echo_form),
    path("nothing", read_nothing),
    path("pieces", read_in_pieces),
    path("fail", fail),
    path("stream", stream),
    path("record", record_two),
    path("break", break_connection),
    path("async", asynchronous),
    path("json", parse_json),
    path("orders/<int:order_id>", read_nothing),
    path("health", read_nothing),
    path("healthy", read_nothing),
]
handler500 = "compliance_site.foundation.api.errors.server_error"
handler404 = "compliance_site.foundation.api.errors.not_found"

"""Views to capture, under a URL configuration of their own."""

import asyncio
import io

from django.contrib import admin
from django.db import DatabaseError, connection
from django.http import FileResponse, HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from rest_framework.decorators import api_view, permission_classes
from rest_framework.permissions import AllowAny
from rest_framework.response import Response

import audit
from audit.models import Intent


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


def answer_json(request):
    return JsonResponse({"order": 7, "password": "hunter2", "note": "ü"})


def answer_page(request):
    return HttpResponse("<p>hunter2</p>")


def fail_in_the_middle(request):
    def pieces():
        yield b'{"order": 7'
        raise LookupError("with a secret in its text")

    return StreamingHttpResponse(pieces())


def stream_json(request):
    return StreamingHttpResponse(
        iter([b'{"order": 7, ', b'"password": "hunter2"}']), content_type="application/json"
    )


def record_while_streaming(request):
    def pieces():
        audit.record("START", resource="/bot/7")
        yield b"a"

    return StreamingHttpResponse(pieces())


def file(request):
    return FileResponse(io.BytesIO(b"x" * 10_000), filename="trades.bin")


async def stream_asynchronously(request):
    async def pieces():
        for piece in (b"a", b"b", b"c"):
            yield piece

    return StreamingHttpResponse(pieces())


async def fail_asynchronously(request):
    async def pieces():
        yield b"a"
        raise LookupError

    return StreamingHttpResponse(pieces())


def count_intents(request):
    return JsonResponse({"intents": Intent.objects.count()})


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


async def asynchronous_and_slow(request):
    await asyncio.sleep(30)


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
    path("json-answer", answer_json),
    path("page", answer_page),
    path("stream/fail", fail_in_the_middle),
    path("stream/json", stream_json),
    path("stream/record", record_while_streaming),
    path("stream/async", stream_asynchronously),
    path("stream/async/fail", fail_asynchronously),
    path("file", file),
    path("intents", count_intents),
    path("record", record_two),
    path("break", break_connection),
    path("async", asynchronous),
    path("async/slow", asynchronous_and_slow),
    path("json", parse_json),
    path("orders/<int:order_id>", read_nothing),
    path("health", read_nothing),
    path("healthy", read_nothing),
]
handler500 = "compliance_site.foundation.api.errors.server_error"
handler404 = "compliance_site.foundation.api.errors.not_found"

"""Views to interrupt, beside the console's own."""

import tempfile
import time

from django.http import FileResponse, JsonResponse, StreamingHttpResponse
from django.urls import include, path
from django.views.decorators.csrf import csrf_exempt

PIECE = b"x" * 65_536
PIECES = 1_600  # 100 MB


@csrf_exempt
def change(request):
    time.sleep(120)
    return JsonResponse({})


def stream(request):
    def pieces():
        for _ in range(1_200):
            yield PIECE
            time.sleep(0.1)

    return StreamingHttpResponse(pieces())


@csrf_exempt
def upload(request):
    pieces = iter(lambda: request.read(65_536), b"")
    return JsonResponse({"read": sum(len(piece) for piece in pieces)})


@csrf_exempt
def form(request):
    return JsonResponse({"size": request.FILES["file"].size})


def download(request):
    return StreamingHttpResponse((PIECE for _ in range(PIECES)), content_type="application/json")


def file(request):
    large = tempfile.TemporaryFile()  # noqa: SIM115  the response closes it
    large.truncate(len(PIECE) * PIECES)
    return FileResponse(large)


urlpatterns = [
    path("slow/change", change),
    path("slow/stream", stream),
    path("large/upload", upload),
    path("large/form", form),
    path("large/download", download),
    path("large/file", file),
    path("", include("compliance_site.urls")),
]

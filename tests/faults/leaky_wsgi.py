"""The console with two views more, which fail and log as badly as code can."""

import logging
import os
import sys
from types import ModuleType

import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import include, path
from django.views.decorators.csrf import csrf_exempt

import audit

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "compliance_site.settings")
django.setup()


@csrf_exempt
def fail(request):
    raise RuntimeError(f"the exchange refused: {request.body.decode()}")


@csrf_exempt
def talk(request):
    """Read the request in every way that there is, log it and record it."""
    body = request.body.decode("utf-8", "replace")
    logging.getLogger("trading").debug("asked with %s, got %s", body, dict(request.headers))
    audit.record("START", resource="/bot", details={"note": body, "form": dict(request.POST)})
    return HttpResponse()


urls = ModuleType("leaky_urls")
urls.urlpatterns = [
    path("leaky/fail", fail),
    path("leaky/talk", talk),
    path("", include("compliance_site.urls")),
]
urls.handler404 = "compliance_site.foundation.api.errors.not_found"
urls.handler500 = "compliance_site.foundation.api.errors.server_error"
sys.modules["leaky_urls"] = urls
settings.ROOT_URLCONF = "leaky_urls"
application = get_wsgi_application()

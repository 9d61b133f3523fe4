"""An empty view and one that makes one query, as a platform's cheapest and usual calls."""

from django.contrib.auth.models import Group
from django.http import HttpRequest, HttpResponse
from django.urls import path


def empty(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


def query(request: HttpRequest) -> HttpResponse:
    Group.objects.filter(name="auditor").first()
    return HttpResponse()


urlpatterns = [path("empty", empty), path("query", query)]

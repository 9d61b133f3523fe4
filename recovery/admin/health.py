"""The page of health: how each part stands now, and how it stood in the last day."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.views.decorators.http import require_safe

from compliance_site.foundation.roles import PEOPLE, has_role
from recovery.health.history import DAY, SLOTS, Strip, common_gap, strips
from recovery.health.report import Report, components, report
from recovery.health.results import Result, Status
from recovery.health.words import in_words

LABELS = {
    "database": ("Database", "PostgreSQL is read and written"),
    "redis": ("Broker", "Valkey or Redis takes a key"),
    "celery": ("Workers", "they live, and no task waits long"),
    "disk": ("Disk", "room where the console writes"),
    "backup": ("Backups", "each database has a young and a verified one, once they are due"),
    "audit": ("Audit spool", "no entries wait on this machine's disk"),
}
TONES = {Status.HEALTHY: "good", Status.DEGRADED: "warn", Status.UNHEALTHY: "bad"}


@dataclass(frozen=True)
class Part:
    """One part: what it said just now, and its last day."""

    result: Result
    strip: Strip

    @property
    def label(self) -> str:
        return LABELS[self.result.component][0]

    @property
    def meaning(self) -> str:
        return LABELS[self.result.component][1]

    @property
    def figures(self) -> str:
        return in_words(self.result)

    @property
    def tone(self) -> str:
        return TONES[self.result.status]


@require_safe
def page(request: HttpRequest) -> HttpResponse:
    """Show the parts, asked while the page is made."""
    if not has_role(request.user, *PEOPLE):
        raise PermissionDenied
    found = report(components(), machine=True)
    drawn = strips(result.component for result in found.results)
    gap = common_gap(drawn)
    parts = [Part(result, strip) for result, strip in zip(found.results, drawn, strict=True)]
    context = admin.site.each_context(request) | {
        "title": "Health",
        "headline": headline(found),
        "parts": parts,
        "machine": found.machine,
        "slots": SLOTS,
        # Said once, where it is true of all.
        "gap": gap,
        "is_blank": gap == DAY,
        "now": timezone.now(),
    }
    return TemplateResponse(request, "admin/recovery/health.html", context)


def headline(found: Report) -> str:
    """Say which part needs somebody, or that none does."""
    for status, words in ((Status.UNHEALTHY, "down"), (Status.DEGRADED, "in need of somebody")):
        names = [LABELS[each.component][0] for each in found.results if each.status == status]
        if names:
            return f"{', '.join(names)}: {words}"
    return "All parts are healthy"


class HealthAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not generic at run time
    """The page stands where Django would list the samples."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(page)
        return [path("", view, name="recovery_healthsample_changelist")]

    def has_module_permission(self, request: HttpRequest) -> bool:
        return has_role(request.user, *PEOPLE)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return has_role(request.user, *PEOPLE)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

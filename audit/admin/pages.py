"""The admin's doors to the log: read-only for everyone, superusers included."""

from __future__ import annotations

import json
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from audit.admin.changelist import LogChangeList
from audit.admin.filter_bar import in_words, labelled_errors, pills
from audit.admin.json_text import indented, marked
from audit.admin.listing import Listing
from audit.capture.recording import note
from audit.models import AuditLog, AuditLogQuerySet
from audit.reading.access import may_read_log
from audit.reading.export import Export, Format, file_response, fingerprint
from audit.reading.pages import up_to
from audit.reading.shape import SHAPE, plain

LONGEST_RELATED = 8


class AuditLogAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not generic at run time
    actions = ("export_csv", "export_json")
    # The list's own columns and filters are in its template and in `filter_bar`.
    list_display = ("id",)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return may_read_log(request.user)

    def has_view_permission(self, request: HttpRequest, obj: AuditLog | None = None) -> bool:
        return may_read_log(request.user)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: AuditLog | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: AuditLog | None = None) -> bool:
        return False

    def get_urls(self) -> list[URLPattern]:
        """Add the export; take away Django's own history, which knows nothing of entries."""
        export = path(
            "export/", self.admin_site.admin_view(self.export_view), name="audit_auditlog_export"
        )
        inherited = [url for url in super().get_urls() if url.name != "audit_auditlog_history"]
        return [export, *inherited]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[LogChangeList]:
        return LogChangeList

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        answer = super().changelist_view(request, {"title": "Audit log"})
        if isinstance(answer, TemplateResponse) and answer.context_data:
            listing = answer.context_data["cl"].listing
            answer.context_data |= list_context(listing)
            note(**fingerprint(listing.page.logs))
        return answer

    def response_action(
        self, request: HttpRequest, queryset: QuerySet[Any], *args: Any, **kwargs: Any
    ) -> HttpResponse | None:
        """Refuse ids that are none, on which Django's own would fail."""
        if not all(pk.isdecimal() for pk in request.POST.getlist(ACTION_CHECKBOX_NAME)):
            self.message_user(request, "An entry that was selected does not exist.", messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())
        return super().response_action(request, queryset, *args, **kwargs)

    @admin.action(description="Export selected as CSV", permissions=["view"])
    def export_csv(self, request: HttpRequest, logs: AuditLogQuerySet) -> StreamingHttpResponse:
        return self._export_selected(request, logs, Format.CSV)

    @admin.action(description="Export selected as JSON", permissions=["view"])
    def export_json(self, request: HttpRequest, logs: AuditLogQuerySet) -> StreamingHttpResponse:
        return self._export_selected(request, logs, Format.JSON)

    def _export_selected(
        self, request: HttpRequest, logs: AuditLogQuerySet, file_format: Format
    ) -> StreamingHttpResponse:
        selected = {"id": request.POST.getlist(ACTION_CHECKBOX_NAME)}
        bounded, as_of = up_to(logs)
        return file_response(Export(bounded, as_of, file_format, selected, request.path))

    def export_view(self, request: HttpRequest) -> HttpResponseBase:
        """Stream all that the filters match; a query that is not understood goes back to the list."""
        if not may_read_log(request.user):
            raise PermissionDenied
        params = request.GET.copy()
        file_format = params.pop("format", [Format.CSV.value])[-1]
        listing = Listing(params)
        if listing.errors or file_format not in Format.values:
            return HttpResponseRedirect(
                f"{reverse('admin:audit_auditlog_changelist')}?{params.urlencode()}"
            )
        page = listing.page
        query = dict(listing.resolved.lists())
        return file_response(
            Export(page.matching, page.as_of, Format(file_format), query, request.path)
        )

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show one entry; there is no form here to add or change one."""
        if object_id is None or request.method != "GET" or not may_read_log(request.user):
            raise PermissionDenied
        log = self.get_object(request, object_id)
        context = self.admin_site.each_context(request) | {"opts": self.opts}
        if not isinstance(log, AuditLog):
            context |= {"title": "There is no such entry", "asked_id": object_id}
            return TemplateResponse(
                request, "admin/audit/auditlog/no_entry.html", context, status=404
            )
        note(**fingerprint([log]))
        context |= entry_context(log) | {"title": f"Entry {log.pk:,}", "log": log}
        return TemplateResponse(request, "admin/audit/auditlog/entry.html", context)


def list_context(listing: Listing) -> dict[str, Any]:
    """Return what the list's page shows beside the entries themselves."""
    shown, page, as_of = pills(listing), listing.page.page, str(listing.page.as_of)
    newer, older = page > 1, page < listing.last_page
    return {
        "listing": listing,
        "list_url": reverse("admin:audit_auditlog_changelist"),
        "search": listing.params.get("q", ""),
        "pills": shown,
        "errors": labelled_errors(listing, shown),
        "filter_words": in_words(listing, shown),
        "users_shown": {log.user_id: log.actor for log in listing.page.logs if log.user_id},
        "count_query": listing.query(count="exact"),
        "newer_query": listing.query(page=str(page - 1), asOf=as_of) if newer else "",
        "older_query": listing.query(page=str(page + 1), asOf=as_of) if older else "",
        "export_url": reverse("admin:audit_auditlog_export"),
        "export_query": listing.export_query(),
    }


def entry_context(log: AuditLog) -> dict[str, Any]:
    """Return what the page of an entry shows beside the entry itself."""
    logs = AuditLog.objects.all()
    same_request = logs.filter(request_id=log.request_id).exclude(pk=log.pk)
    # The console's user 7 and the platform's are different people.
    earlier = logs.filter(user_id=log.user_id, source=log.source, created_at__lt=log.created_at)
    raw = {name: plain(getattr(log, field)) for name, field in SHAPE.items()}
    return {
        "request_text": marked(indented(log.request_data)),
        "details_text": marked(indented(log.details)),
        "raw_text": json.dumps(raw, ensure_ascii=False, indent=2),
        "same_request": same_request[:LONGEST_RELATED] if log.request_id else [],
        "earlier_by_user": earlier[:LONGEST_RELATED] if log.user_id else [],
        "older": logs.filter(pk__lt=log.pk).order_by("-pk").first(),
        "newer": logs.filter(pk__gt=log.pk).order_by("pk").first(),
    }

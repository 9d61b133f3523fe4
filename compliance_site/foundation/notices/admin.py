"""The list of notices, read-only for everyone."""

from __future__ import annotations

from django.contrib import admin
from django.http import HttpRequest

from compliance_site.foundation.notices.access import may_see_notices
from compliance_site.foundation.notices.models import Notice


@admin.register(Notice)
class NoticeAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not generic at run time
    list_display = ("subject", "state", "channel", "error", "created_at")
    list_filter = ("state", "channel", "urgency", "topic")
    search_fields = ("subject", "key")
    actions = None

    def has_module_permission(self, request: HttpRequest) -> bool:
        return may_see_notices(request.user)

    def has_view_permission(self, request: HttpRequest, obj: Notice | None = None) -> bool:
        return may_see_notices(request.user)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Notice | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Notice | None = None) -> bool:
        return False

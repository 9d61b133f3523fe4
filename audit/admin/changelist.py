"""Django's change list with its filters, order, counts and pages replaced by the log's own."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.admin.views.main import ChangeList
from django.http import HttpRequest

from audit.admin.listing import Listing
from audit.models import AuditLogQuerySet


class LogChangeList(ChangeList):
    # `q` is one of the shared filters; Django's search would read it a second time.
    search_form_class = forms.Form

    def get_queryset(
        self, request: HttpRequest, exclude_parameters: list[str | None] | None = None
    ) -> AuditLogQuerySet:
        self.listing = Listing(request.GET)
        return self.listing.page.matching

    def get_results(self, request: HttpRequest) -> None:
        self.result_list: Any = self.listing.page.logs
        self.result_count = self.listing.count
        self.full_result_count = None
        self.show_admin_actions = True
        self.can_show_all = False
        self.multi_page = self.listing.last_page > 1

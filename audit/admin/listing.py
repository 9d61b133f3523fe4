"""What a reader asks of the list: the query string, understood once or refused by name."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import cached_property
from math import ceil

from django import forms
from django.db import models
from django.http import QueryDict
from django.utils import timezone
from rest_framework.exceptions import ValidationError

from audit.models import AuditLog, AuditLogQuerySet
from audit.reading.filters import AuditLogFilter
from audit.reading.overview import midnight_of
from audit.reading.pages import LogPage, page_of
from audit.reading.shape import timestamp
from compliance_site.foundation.api.errors import flat_fields
from compliance_site.foundation.api.filters import refuse_unknown

PAGE_SIZE = 50
# What a count and the pages go up to: both cost as much as they skip.
LARGEST_COUNT = 10_000
LAST_PAGE = LARGEST_COUNT // PAGE_SIZE
LARGEST_ID = 2**63 - 1


class Period(models.TextChoices):
    """Times that move with the clock; the API knows only moments."""

    HOUR = "1h", "last hour"
    TODAY = "today", "today"
    DAY = "24h", "last 24 hours"
    WEEK = "7d", "last 7 days"
    THIRTY_DAYS = "30d", "last 30 days"
    MONTH = "month", "this month"
    CUSTOM = "custom", "between dates"

    def start(self, now: datetime) -> datetime:
        if self is Period.TODAY:
            return midnight_of(now)
        if self is Period.MONTH:
            return midnight_of(now).replace(day=1)
        return now - SPANS[self]


SPANS = {
    Period.HOUR: timedelta(hours=1),
    Period.DAY: timedelta(days=1),
    Period.WEEK: timedelta(days=7),
    Period.THIRTY_DAYS: timedelta(days=30),
}


class ListingForm(forms.Form):
    """The parameters of the list beside the filters."""

    period = forms.ChoiceField(required=False, choices=Period.choices)
    page = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=LAST_PAGE,
        error_messages={
            "max_value": "The list goes back %(limit_value)s pages. Narrow the filters to see older entries."
        },
    )
    asOf = forms.IntegerField(required=False, min_value=0, max_value=LARGEST_ID)  # noqa: N815  as in the API
    count = forms.ChoiceField(required=False, choices=[("exact", "exact")])

    def clean_period(self) -> str:
        period: str = self.cleaned_data["period"]
        has_dates = any(self.data.get(name) for name in ("startDate", "endDate"))
        if period and period != Period.CUSTOM and has_dates:
            raise forms.ValidationError("Give a period or dates, not both.")
        return period


class Listing:
    """The entries that a query string asks for.

    `errors` names each parameter that was not understood; then nothing matches.
    """

    def __init__(self, params: QueryDict, now: datetime | None = None) -> None:
        self.params = params
        self.now = now or timezone.now()
        self.form = ListingForm(params)
        self.form.full_clean()

    @cached_property
    def resolved(self) -> QueryDict:
        """The filters alone, a period turned into its moment: what API and export understand."""
        resolved = QueryDict(mutable=True)
        for name in AuditLogFilter.base_filters:
            if values := [value for value in self.params.getlist(name) if value.strip()]:
                resolved.setlist(name, values)
        period = self.form.cleaned_data.get("period")
        if period and period != Period.CUSTOM:
            resolved["startDate"] = timestamp(Period(period).start(self.now))
        return resolved

    @cached_property
    def filters(self) -> AuditLogFilter:
        return AuditLogFilter(self.resolved, queryset=AuditLog.objects.all())

    @cached_property
    def errors(self) -> dict[str, list[str]]:
        errors = flat_fields({**self.form.errors, **self.filters.errors})
        try:
            refuse_unknown(self.params, [*AuditLogFilter.base_filters, *ListingForm.base_fields])
        except ValidationError as refusal:
            errors |= flat_fields(refusal.detail)
        return errors

    @cached_property
    def page(self) -> LogPage:
        """The page to show, under the same upper bound as the listing's other pages."""
        logs: AuditLogQuerySet = AuditLog.objects.none() if self.errors else self.filters.qs
        asked = self.form.cleaned_data
        return page_of(logs, page=asked.get("page") or 1, limit=PAGE_SIZE, as_of=asked.get("asOf"))

    @cached_property
    def count(self) -> int:
        """How many match: at most one above `LARGEST_COUNT`, unless the exact number is asked for.

        A page that is not full is the last one; then nothing needs to be counted.
        """
        page, matching = self.page, self.page.matching
        if 0 < len(page.logs) < page.limit or (page.page == 1 and not page.logs):
            return (page.page - 1) * page.limit + len(page.logs)
        if self.form.cleaned_data.get("count"):
            return matching.count()
        return matching.order_by()[: LARGEST_COUNT + 1].count()

    @property
    def is_capped(self) -> bool:
        return self.count > LARGEST_COUNT and not self.form.cleaned_data.get("count")

    @property
    def last_page(self) -> int:
        return max(1, ceil(min(self.count, LARGEST_COUNT) / PAGE_SIZE))

    def query(self, *, without: tuple[str, ...] = (), **changes: str) -> str:
        """Return the query string with parameters taken away or set."""
        params = self.params.copy()
        for name in without:
            params.pop(name, None)
        for name, value in changes.items():
            params[name] = value
        return f"?{params.urlencode()}"

    def export_query(self) -> str:
        """Return the query string under which exactly the listed entries are exported."""
        params = self.resolved.copy()
        params["asOf"] = str(self.page.as_of)
        return params.urlencode()

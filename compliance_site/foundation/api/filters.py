"""Filters that refuse what they do not understand, instead of ignoring it."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import django_filters
from django import forms
from django.db.models import QuerySet
from django.http import QueryDict
from django.utils.dateparse import parse_date, parse_datetime
from rest_framework.exceptions import ValidationError


class MomentField(forms.Field):
    """A moment: ISO 8601 with or without offset (UTC then), or a date.

    With `is_end`, a date stands for the end of that day: `2025-12-31` includes it.
    """

    def __init__(self, *, is_end: bool = False, **kwargs: Any) -> None:
        self.is_end = is_end
        super().__init__(**kwargs)

    def to_python(self, value: str | None) -> datetime | None:
        text = (value or "").strip()
        if not text:
            return None
        try:
            # In a query string, the `+` of an offset that was not encoded arrives as a blank.
            return self._date(text) or self._moment(text.replace(" ", "+") if "T" in text else text)
        except (ValueError, OverflowError) as exc:
            raise forms.ValidationError(
                "Give a date (2025-12-31) or a moment (2025-12-31T23:59:59Z)."
            ) from exc

    def _date(self, text: str) -> datetime | None:
        day: date | None = parse_date(text)
        if day is None:
            return None
        return datetime.combine(day, time.min, UTC) + timedelta(days=int(self.is_end))

    def _moment(self, text: str) -> datetime:
        moment = parse_datetime(text)
        if moment is None:
            raise ValueError(text)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


class MomentFilter(django_filters.Filter):  # type: ignore[misc]  # no types
    field_class = MomentField


class RepeatedField(forms.Field):
    """One or more values of one parameter, each read by `parse`."""

    widget = forms.SelectMultiple

    def __init__(self, *, parse: Callable[[str], Any], **kwargs: Any) -> None:
        self.parse = parse
        super().__init__(**kwargs)

    def to_python(self, value: list[str] | None) -> list[Any]:
        return [self._parsed(text) for text in value or [] if text.strip()]

    def _parsed(self, text: str) -> Any:
        try:
            return self.parse(text.strip())
        except ValueError as exc:
            raise forms.ValidationError(str(exc)) from exc


class RepeatedFilter(django_filters.Filter):  # type: ignore[misc]  # no types
    """Match any of the values that the parameter was given."""

    field_class = RepeatedField

    def filter(self, queryset: QuerySet[Any], value: list[Any]) -> QuerySet[Any]:
        return queryset.filter(**{f"{self.field_name}__in": value}) if value else queryset


def refuse_unknown(params: QueryDict, known: Iterable[str]) -> None:
    """Raise a `ValidationError` that names each unknown parameter and the nearest known one."""
    names = sorted(known)
    unknown = {name: [_hint(name, names)] for name in params if name not in names}
    if unknown:
        raise ValidationError(unknown)


def _hint(name: str, names: list[str]) -> str:
    lower = {known.lower(): known for known in names}
    near = difflib.get_close_matches(name.lower(), lower, n=1)
    if near:
        return f"Unknown parameter; did you mean {lower[near[0]]}?"
    return f"Unknown parameter; known are {', '.join(names)}."

"""The filters of the backups, shared by the API and the console's list."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

import django_filters
from django import forms
from django.db.models import QuerySet

from recovery.databases import databases
from recovery.models import Backup, BackupKind, BackupState


class YesNoField(forms.ChoiceField):
    """`true` or `false`; nothing for both."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(choices=[("true", "yes"), ("false", "no")], **kwargs)


class YesNoFilter(django_filters.Filter):  # type: ignore[misc]  # no types
    """Whether the moment in a column is there."""

    field_class = YesNoField

    def filter(self, queryset: QuerySet[Any], value: str) -> QuerySet[Any]:
        return (
            queryset.filter(**{f"{self.field_name}__isnull": value == "false"})
            if value
            else queryset
        )


class DatabaseField(forms.CharField):
    """A database that is backed up, or was."""

    def clean(self, value: Any) -> str:
        name: str = super().clean(value)
        known = database_names() if name else [name]
        if name not in known:
            nearest = get_close_matches(name[:80], known, 1)
            hint = f"did you mean {nearest[0]}?" if nearest else f"there are: {', '.join(known)}."
            raise forms.ValidationError(f"No such database; {hint}")
        return name


class DatabaseFilter(django_filters.Filter):  # type: ignore[misc]  # no types
    field_class = DatabaseField


class BackupFilter(django_filters.FilterSet):  # type: ignore[misc]  # no types
    database = DatabaseFilter(
        help_text="As it is configured: `console`, or a name of BACKUP_DATABASES."
    )
    state = django_filters.ChoiceFilter(
        choices=BackupState.choices, help_text=f"One of {', '.join(BackupState.values)}."
    )
    kind = django_filters.ChoiceFilter(
        choices=BackupKind.choices, help_text=f"One of {', '.join(BackupKind.values)}."
    )
    verified = YesNoFilter(
        "verified_at", help_text="`true` for those that were restored and compared."
    )

    class Meta:
        model = Backup
        fields: tuple[str, ...] = ()


def database_names() -> list[str]:
    """Return the databases that are configured, and those of which there are backups."""
    used = Backup.objects.order_by("database").values_list("database", flat=True).distinct()
    return sorted({*databases(), *used})

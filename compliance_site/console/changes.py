"""Every change made through the admin is an audit event, in the change's own transaction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.contrib import admin
from django.db import models
from django.forms import Form
from django.http import HttpRequest

import audit
from audit.models import Action


class AuditedAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not generic at run time
    """Mixed into each admin class that the console's site registers.

    It hooks where Django writes its own history, which covers forms, list editing and the
    delete action, and adds what the history lacks: the values before and after.
    """

    def construct_change_message(
        self, request: HttpRequest, form: Form, formsets: Any, add: bool = False
    ) -> Any:
        request.__dict__["_audit_differences"] = differences(form)
        return super().construct_change_message(request, form, formsets, add)

    def log_addition(self, request: HttpRequest, obj: models.Model, message: Any) -> Any:
        _record(request, Action.CREATE, obj, message)
        return super().log_addition(request, obj, message)

    def log_change(self, request: HttpRequest, obj: models.Model, message: Any) -> Any:
        _record(request, Action.UPDATE, obj, message)
        return super().log_change(request, obj, message)

    def log_deletions(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> Any:
        for deleted in queryset:
            _record(request, Action.DELETE, deleted, "")
        return super().log_deletions(request, queryset)


def audited(admin_class: type[admin.ModelAdmin[Any]] | None) -> type[admin.ModelAdmin[Any]]:
    """Return the class with auditing mixed in, once."""
    base = admin_class or admin.ModelAdmin
    if issubclass(base, AuditedAdmin):
        return base
    return type(f"Audited{base.__name__}", (AuditedAdmin, base), {"__module__": base.__module__})


def differences(form: Form) -> dict[str, dict[str, Any]]:
    """Return each changed field with its value before and after, as text."""
    return {
        name: {"before": _text(form[name].initial), "after": _text(form.cleaned_data.get(name))}
        for name in form.changed_data
        if name in form.fields
    }


def _record(request: HttpRequest, action: str, changed: models.Model, message: Any) -> None:
    details: Mapping[str, Any] = {
        "object": str(changed),
        "message": message,
        "changes": request.__dict__.pop("_audit_differences", {}),
    }
    audit.record(action, resource=f"{changed._meta.label}/{changed.pk}", details=details)


def _text(value: Any) -> Any:
    """Return many related objects as a sorted list, nothing as null, the rest as text."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, models.QuerySet | list | tuple | set):
        return sorted(str(item) for item in value)
    return str(value)

"""Where the pages are: the addresses under each model, and who may open the first of them."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin
from django.http import HttpRequest
from django.urls import URLPattern, path

from secrets_rotation.admin import (
    ask,
    calendar,
    consumer_form,
    decision,
    emergency,
    grace,
    policy,
    rotate,
    run,
    secret,
    secret_form,
    secrets,
)
from secrets_rotation.admin.pages import View, may_act, may_read


class PagesAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not generic at run time
    """A model whose pages are views of their own; Django's forms do not exist for it."""

    # Address below the model's, name, view.
    pages: ClassVar[tuple[tuple[str, str, View], ...]] = ()

    def get_urls(self) -> list[URLPattern]:
        prefix = f"{self.opts.app_label}_{self.opts.model_name}_"
        return [
            path(address, self.admin_site.admin_view(view), name=prefix + name)
            for address, name, view in self.pages
        ]

    def has_module_permission(self, request: HttpRequest) -> bool:
        return may_read(request.user)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may_read(request.user)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may_act(request.user)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class SecretAdmin(PagesAdmin):
    pages = (
        ("", "changelist", secrets.listing),
        ("calendar/", "calendar", calendar.month),
        ("add/", "add", secret_form.add),
        ("<int:id>/change/", "change", secret.detail),
        ("<int:id>/edit/", "edit", secret_form.edit),
        ("<int:id>/retire/", "retire", secret_form.retire),
        ("<int:id>/rotate/", "rotate", rotate.rotate),
        ("<int:id>/consumers/add/", "consumer_add", consumer_form.add),
        ("<int:id>/consumers/<int:consumer_id>/edit/", "consumer_edit", consumer_form.edit),
        ("<int:id>/consumers/<int:consumer_id>/retire/", "consumer_retire", consumer_form.retire),
    )

    def has_add_permission(self, request: HttpRequest) -> bool:
        return may_act(request.user)


class RunAdmin(PagesAdmin):
    pages = (
        ("", "changelist", run.listing),
        ("grace/", "grace", grace.dashboard),
        ("<int:id>/change/", "change", run.detail),
        ("<int:id>/live/", "live", run.live),
        ("<int:id>/<slug:decision>/", "decide", decision.decide),
    )


class BreakGlassAdmin(PagesAdmin):
    pages = (
        ("", "changelist", emergency.listing),
        ("ask/", "ask", ask.ask),
        ("<int:id>/change/", "change", emergency.detail),
        ("<int:id>/live/", "live", emergency.live),
        ("<int:id>/<slug:decision>/", "decide", emergency.decide),
    )


class PolicyAdmin(PagesAdmin):
    pages = (
        ("", "changelist", policy.listing),
        ("<slug:secret_type>/change/", "change", policy.detail),
    )

"""How a page of backups and restores answers, and to whom."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path

from compliance_site.foundation.roles import PEOPLE, AnyUser, Role, has_role
from recovery.exceptions import UnknownBackupError
from recovery.restore.state import UnknownRestoreError

View = Callable[..., HttpResponseBase]


def may_read(user: AnyUser) -> bool:
    return has_role(user, *PEOPLE)


def may_act(user: AnyUser) -> bool:
    return has_role(user, Role.OPERATOR)


def for_readers(view: View) -> View:
    """Let everybody in who has a person's role."""
    return _guarded(view, may_read)


def for_operators(view: View) -> View:
    """Let operators in, and nobody else."""
    return _guarded(view, may_act)


def page(request: HttpRequest, template: str, title: str, **context: Any) -> TemplateResponse:
    """Answer with a template of `admin/recovery/` in the console's frame."""
    shared = admin.site.each_context(request) | {"title": title, "acts": may_act(request.user)}
    return TemplateResponse(request, f"admin/recovery/{template}", shared | context)


def go(request: HttpRequest, message: str, to: str, *args: Any) -> HttpResponseRedirect:
    """Say what was done on the page that comes next."""
    messages.success(request, message)
    return redirect(to, *args)


def refuse(request: HttpRequest, message: str, to: str, *args: Any) -> HttpResponseRedirect:
    """Say why nothing was done on the page that comes next."""
    messages.error(request, message)
    return redirect(to, *args)


def _guarded(view: View, may: Callable[[AnyUser], bool]) -> View:
    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not may(request.user):
            raise PermissionDenied
        try:
            return view(request, *args, **kwargs)
        except (UnknownBackupError, UnknownRestoreError) as exc:
            raise Http404 from exc

    return guarded


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

"""Pages of the console that are views of their own: who may open them, and how they answer."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import URLPattern, path

from compliance_site.foundation.roles import PEOPLE, AnyUser, Role, has_role

View = Callable[..., HttpResponseBase]


def may_read(user: AnyUser) -> bool:
    return has_role(user, *PEOPLE)


def guarded(view: View, may: Callable[[AnyUser], bool]) -> View:
    """Let in who may, and nobody else."""

    @wraps(view)
    def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not may(request.user):
            raise PermissionDenied
        return view(request, *args, **kwargs)

    return checked


def for_readers(view: View) -> View:
    """Let everybody in who has a person's role."""
    return guarded(view, may_read)


def go(request: HttpRequest, message: str, to: str, *args: Any) -> HttpResponseRedirect:
    """Say what was done on the page that comes next."""
    messages.success(request, message)
    return redirect(to, *args)


def refuse(request: HttpRequest, message: str, to: str, *args: Any) -> HttpResponseRedirect:
    """Say why nothing was done on the page that comes next."""
    messages.error(request, message)
    return redirect(to, *args)


class PagesAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not generic at run time
    """A model whose pages are views of their own; Django's forms do not exist for it."""

    # Address below the model's, name, view.
    pages: ClassVar[tuple[tuple[str, str, View], ...]] = ()
    # Who may do more than read.
    acting_role: ClassVar[Role]

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
        return has_role(request.user, self.acting_role)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

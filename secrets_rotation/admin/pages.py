"""How a page of rotation answers, and to whom."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect
from django.template.response import TemplateResponse

from compliance_site.foundation.roles import PEOPLE, AnyUser, Role, has_role

View = Callable[..., HttpResponse]


def may_read(user: AnyUser) -> bool:
    return has_role(user, *PEOPLE)


def may_act(user: AnyUser) -> bool:
    return has_role(user, Role.SECURITY_OFFICER)


def for_readers(view: View) -> View:
    """Let everybody in who has a person's role."""
    return _guarded(view, may_read)


def for_officers(view: View) -> View:
    """Let security officers in, and nobody else."""
    return _guarded(view, may_act)


def page(request: HttpRequest, template: str, title: str, **context: Any) -> TemplateResponse:
    """Answer with a template of `admin/secrets_rotation/` in the console's frame."""
    shared = admin.site.each_context(request) | {"title": title, "acts": may_act(request.user)}
    return TemplateResponse(request, f"admin/secrets_rotation/{template}", shared | context)


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
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not may(request.user):
            raise PermissionDenied
        return view(request, *args, **kwargs)

    return guarded

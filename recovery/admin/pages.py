"""How a page of backups and restores answers, and to whom."""

from __future__ import annotations

from functools import wraps
from typing import Any

from django.contrib import admin
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse

from compliance_site.foundation import admin_pages
from compliance_site.foundation.admin_pages import View
from compliance_site.foundation.roles import AnyUser, Role, has_role
from recovery.exceptions import UnknownBackupError
from recovery.restore.state import UnknownRestoreError


def may_act(user: AnyUser) -> bool:
    return has_role(user, Role.OPERATOR)


def for_readers(view: View) -> View:
    """Let everybody in who has a person's role."""
    return admin_pages.for_readers(_found(view))


def for_operators(view: View) -> View:
    """Let operators in, and nobody else."""
    return admin_pages.guarded(_found(view), may_act)


def page(request: HttpRequest, template: str, title: str, **context: Any) -> TemplateResponse:
    """Answer with a template of `admin/recovery/` in the console's frame."""
    shared = admin.site.each_context(request) | {"title": title, "acts": may_act(request.user)}
    return TemplateResponse(request, f"admin/recovery/{template}", shared | context)


def _found(view: View) -> View:
    """Answer 404 for what there is not."""

    @wraps(view)
    def found(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            return view(request, *args, **kwargs)
        except (UnknownBackupError, UnknownRestoreError) as exc:
            raise Http404 from exc

    return found

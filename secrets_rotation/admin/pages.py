"""How a page of rotation answers, and to whom."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.template.response import TemplateResponse

from compliance_site.foundation.admin_pages import View, guarded
from compliance_site.foundation.roles import AnyUser, Role, has_role


def may_act(user: AnyUser) -> bool:
    return has_role(user, Role.SECURITY_OFFICER)


def for_officers(view: View) -> View:
    """Let security officers in, and nobody else."""
    return guarded(view, may_act)


def page(request: HttpRequest, template: str, title: str, **context: Any) -> TemplateResponse:
    """Answer with a template of `admin/secrets_rotation/` in the console's frame."""
    shared = admin.site.each_context(request) | {"title": title, "acts": may_act(request.user)}
    return TemplateResponse(request, f"admin/secrets_rotation/{template}", shared | context)

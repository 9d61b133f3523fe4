"""The console's admin site: whatever is registered on it is audited."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest
from django.template.response import TemplateResponse
from knox.models import AuthToken

from audit.reading.access import may_read_log
from audit.reading.overview import overview
from compliance_site.console.changes import audited
from compliance_site.console.sign_in import SignInForm
from compliance_site.foundation.roles import PEOPLE, has_role, roles_of
from secrets_rotation.overview import overview as rotation_overview


class ConsoleSite(admin.AdminSite):
    site_header = "Compliance console"
    site_title = "Compliance console"
    index_title = "Home"
    site_url = None
    # The rail of `templates/admin/base.html` stands in its place.
    enable_nav_sidebar = False
    login_form = SignInForm

    def has_permission(self, request: HttpRequest) -> bool:
        """Admit people with a role; they need no staff flag, and a service never gets in."""
        return has_role(request.user, *PEOPLE)

    def register(
        self,
        model_or_iterable: type[Model] | Iterable[type[Model]],
        admin_class: type[admin.ModelAdmin[Any]] | None = None,
        **options: Any,
    ) -> None:
        """Register with auditing mixed in, except API tokens.

        Knox's page would show a new token on the screen; tokens come from `issue_token`.
        """
        models = [model_or_iterable] if isinstance(model_or_iterable, type) else model_or_iterable
        shown = [model for model in models if model is not AuthToken]
        super().register(shown, audited(admin_class), **options)

    def index(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> TemplateResponse:
        """Answer with the state of the console, as far as the user's roles may see it."""
        home = {
            "overview": overview() if may_read_log(request.user) else None,
            "rotation": rotation_overview(),
            "roles": sorted(role.replace("_", " ") for role in roles_of(request.user)),
        }
        return super().index(request, home | (extra_context or {}))

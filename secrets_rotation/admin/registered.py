"""Where the pages are: the addresses under each model, and who may open the first of them."""

from __future__ import annotations

from django.http import HttpRequest

from compliance_site.foundation.admin_pages import PagesAdmin
from compliance_site.foundation.roles import Role
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
from secrets_rotation.admin.pages import may_act


class SecretAdmin(PagesAdmin):
    acting_role = Role.SECURITY_OFFICER
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
    acting_role = Role.SECURITY_OFFICER
    pages = (
        ("", "changelist", run.listing),
        ("grace/", "grace", grace.dashboard),
        ("<int:id>/change/", "change", run.detail),
        ("<int:id>/live/", "live", run.live),
        ("<int:id>/<slug:decision>/", "decide", decision.decide),
    )


class BreakGlassAdmin(PagesAdmin):
    acting_role = Role.SECURITY_OFFICER
    pages = (
        ("", "changelist", emergency.listing),
        ("ask/", "ask", ask.ask),
        ("<int:id>/change/", "change", emergency.detail),
        ("<int:id>/live/", "live", emergency.live),
        ("<int:id>/<slug:decision>/", "decide", emergency.decide),
    )


class PolicyAdmin(PagesAdmin):
    acting_role = Role.SECURITY_OFFICER
    pages = (
        ("", "changelist", policy.listing),
        ("<slug:secret_type>/change/", "change", policy.detail),
    )

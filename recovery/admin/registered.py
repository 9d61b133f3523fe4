"""Backups and restores in the admin: pages of their own in the places of Django's forms."""

from __future__ import annotations

from compliance_site.foundation.admin_pages import PagesAdmin
from compliance_site.foundation.roles import Role
from recovery.admin import backups, point_in_time, restore_progress, restores


class BackupAdmin(PagesAdmin):
    acting_role = Role.OPERATOR
    pages = (
        ("", "changelist", backups.listing),
        ("back-up/", "back_up", backups.back_up),
        ("point-in-time/", "point_in_time", point_in_time.listing),
        ("<str:id>/change/", "change", backups.detail),
        ("<str:id>/live/", "live", backups.live),
        ("<str:id>/verify/", "verify", backups.verify),
        ("<str:id>/pin/", "pin", backups.pin),
        ("<str:id>/unpin/", "unpin", backups.unpin),
        ("<str:id>/download/", "download", backups.download),
        ("<str:id>/restore/", "restore", restores.ask),
    )


class RestoreRequestAdmin(PagesAdmin):
    acting_role = Role.OPERATOR
    pages = (
        ("", "changelist", restores.listing),
        ("<int:id>/change/", "change", restores.detail),
        ("<int:id>/<slug:decision>/", "decide", restores.decide),
        ("of/<str:restore_id>/", "progress", restore_progress.progress),
        ("of/<str:restore_id>/live/", "live", restore_progress.live),
    )

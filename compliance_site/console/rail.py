"""The rail: which pages there are, and who is shown them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from django.contrib.auth.models import User
from django.urls import reverse

from audit.reading.access import may_read_log
from compliance_site.foundation.notices.access import may_see_notices
from compliance_site.foundation.roles import PEOPLE, AnyUser, has_role


def is_person(user: AnyUser) -> bool:
    return has_role(user, *PEOPLE)


def is_superuser(user: AnyUser) -> bool:
    return isinstance(user, User) and user.is_active and user.is_superuser


@dataclass(frozen=True)
class Page:
    label: str
    url_name: str
    is_shown_to: Callable[[AnyUser], bool]


@dataclass(frozen=True)
class RailLink:
    label: str
    url: str
    is_current: bool


@dataclass(frozen=True)
class RailSection:
    title: str
    links: tuple[RailLink, ...]


PAGES = {
    "": (Page("Home", "admin:index", is_person),),
    "Audit": (Page("Log", "admin:audit_auditlog_changelist", may_read_log),),
    "Secrets": (
        Page("Secrets", "admin:secrets_rotation_secret_changelist", is_person),
        Page("Calendar", "admin:secrets_rotation_secret_calendar", is_person),
        Page("Runs", "admin:secrets_rotation_run_changelist", is_person),
        Page("Grace", "admin:secrets_rotation_run_grace", is_person),
        Page("Break-glass", "admin:secrets_rotation_breakglass_changelist", is_person),
        Page("Policies", "admin:secrets_rotation_policy_changelist", is_person),
    ),
    "Recovery": (
        Page("Health", "admin:recovery_healthsample_changelist", is_person),
        Page("Backups", "admin:recovery_backup_changelist", is_person),
        Page("Point in time", "admin:recovery_backup_point_in_time", is_person),
        Page("Restores", "admin:recovery_restorerequest_changelist", is_person),
    ),
    "Administration": (
        Page("Notices", "admin:notices_notice_changelist", may_see_notices),
        Page("Users", "admin:auth_user_changelist", is_superuser),
        Page("Groups", "admin:auth_group_changelist", is_superuser),
        Page("Schedules", "admin:django_celery_beat_periodictask_changelist", is_superuser),
    ),
    "API": (Page("Documentation", "docs", is_person),),
}


def rail_for(user: AnyUser, path: str) -> list[RailSection]:
    """Return the sections with a page for this user, the page at `path` marked as current."""
    shown = [
        (title, [(page.label, reverse(page.url_name)) for page in pages if page.is_shown_to(user)])
        for title, pages in PAGES.items()
    ]
    current = _current([url for _, links in shown for _, url in links], path)
    return [
        RailSection(title, tuple(RailLink(label, url, url == current) for label, url in links))
        for title, links in shown
        if links
    ]


def _current(urls: list[str], path: str) -> str | None:
    """Return the page that is open: of several that hold the path, the innermost."""
    home = reverse("admin:index")
    around = [url for url in urls if path == url or (url != home and path.startswith(url))]
    return max(around, key=len, default=None)

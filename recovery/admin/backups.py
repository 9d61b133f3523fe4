"""Backups: how each database stands, the list, one of them, and what an operator does with it."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from compliance_site.foundation.admin_pages import go, refuse
from recovery import databases, tasks
from recovery.admin.pages import for_operators, for_readers, page
from recovery.api.filters import BackupFilter, database_names
from recovery.backups import catalogue, pins, requests
from recovery.backups.details import Details, details, is_under_way
from recovery.backups.download import file_response
from recovery.backups.overview import Card, cards
from recovery.backups.pins import LONGEST_REASON
from recovery.exceptions import ConfigurationError, RecoveryError, UnknownBackupError
from recovery.models import Backup, BackupKind, BackupState

LIST = "admin:recovery_backup_changelist"
BACKUP_PAGE = "admin:recovery_backup_change"
PAGE_SIZE = 30
SOON_SECONDS = 2
LONGEST_ASKED = 1_000


class PinForm(forms.Form):
    reason = forms.CharField(max_length=LONGEST_REASON, label="Why")

    def clean_reason(self) -> str:
        reason: str = self.cleaned_data["reason"]
        if not reason.isprintable():
            raise forms.ValidationError("Say it in one line, without control characters.")
        return reason


@for_readers
@require_safe
def listing(request: HttpRequest) -> HttpResponse:
    """Show a card for each database, and the backups, the newest first."""
    filters = BackupFilter(request.GET, queryset=Backup.objects.defer("manifest"))
    errors = filters.errors if not filters.is_valid() else {}
    shown = Paginator(filters.qs if not errors else Backup.objects.none(), PAGE_SIZE)
    drawn, problem = _cards()
    query = request.GET.copy()
    query.pop("page", None)
    context = {
        "cards": drawn,
        "problem": problem,
        "headline": headline(drawn),
        "shown": shown.get_page(request.GET.get("page")),
        "errors": errors,
        "chosen": request.GET,
        "is_filtered": any(request.GET.get(name) for name in BackupFilter.base_filters),
        "query": query.urlencode(),
        "names": database_names() if not problem else [],
        "states": BackupState.values,
        "kinds": BackupKind.values,
        "now": timezone.now(),
    }
    return page(request, "backups.html", "Backups", **context)


@for_readers
@require_safe
def detail(request: HttpRequest, id: str) -> HttpResponse:
    """Show one backup; `?asked=2` follows it until it has more than two verifications."""
    backup = catalogue.find(id)
    return page(request, "backup.html", f"Backup {backup.pk}", **_context(request, backup))


@for_readers
@require_safe
def live(request: HttpRequest, id: str) -> HttpResponse:
    """Answer with the part of a backup's page that changes, for its script to put in place."""
    backup = catalogue.find(id)
    return page(request, "backup_live.html", f"Backup {backup.pk}", **_context(request, backup))


@for_operators
@require_POST
def back_up(request: HttpRequest) -> HttpResponse:
    """Have a worker back a database up now."""
    try:
        backup = requests.request(databases.database(request.POST.get("database", "")))
        tasks.send_backup(backup)
    except RecoveryError as exc:
        return refuse(request, str(exc), LIST)
    return go(request, "A worker makes the backup; this page follows it.", BACKUP_PAGE, backup.pk)


@for_operators
@require_POST
def verify(request: HttpRequest, id: str) -> HttpResponse:
    """Have a worker restore the backup into a scratch database and compare."""
    backup = catalogue.find(id)
    asked = backup.verifications.count()
    try:
        requests.refuse_unless_stored(backup)
        tasks.send_verification(backup)
    except RecoveryError as exc:
        return refuse(request, str(exc), BACKUP_PAGE, id)
    return redirect(f"{reverse(BACKUP_PAGE, args=[id])}?asked={asked}")


@for_operators
@require_http_methods(["GET", "HEAD", "POST"])
def pin(request: HttpRequest, id: str) -> HttpResponse:
    """Ask why the backup has to stay, and keep it until it is unpinned."""
    backup = catalogue.find(id)
    form = PinForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        try:
            failures = pins.pin(backup, form.cleaned_data["reason"])
        except RecoveryError as exc:
            return refuse(request, str(exc), BACKUP_PAGE, id)
        return go(request, " ".join(["It is kept.", *failures.values()]), BACKUP_PAGE, id)
    return page(request, "backup_pin.html", f"Pin {backup.pk}", backup=backup, form=form)


@for_operators
@require_POST
def unpin(request: HttpRequest, id: str) -> HttpResponse:
    """Let retention decide about the backup again."""
    try:
        failures = pins.unpin(catalogue.find(id))
    except UnknownBackupError:
        raise
    except RecoveryError as exc:
        return refuse(request, str(exc), BACKUP_PAGE, id)
    message = " ".join(["Retention decides about it again.", *failures.values()])
    return go(request, message, BACKUP_PAGE, id)


@for_operators
@require_safe
def download(request: HttpRequest, id: str) -> HttpResponseBase:
    """Stream the sealed file; recorded with the bytes that left."""
    backup = catalogue.find(id)
    try:
        return file_response(backup)
    except RecoveryError as exc:
        return refuse(request, str(exc), BACKUP_PAGE, id)


def headline(drawn: list[Card]) -> str:
    """Say whether every database could be restored, as the first line of the page."""
    amiss = [card.database for card in drawn if card.warnings]
    if not drawn:
        return "The backups cannot be told"
    if not amiss:
        return "Every database has a young backup that was restored and compared"
    return f"{', '.join(amiss)}: somebody has to look"


def _cards() -> tuple[list[Card], str]:
    try:
        return cards(), ""
    except ConfigurationError as exc:
        return [], str(exc)


def _context(request: HttpRequest, backup: Backup) -> dict[str, Any]:
    known = details(backup)
    asked = _asked(request)
    waits = asked is not None and len(known.verifications) <= asked
    return {
        "backup": backup,
        "known": known,
        "tone": TONES.get(backup.state, ""),
        "asked": asked,
        "waits_for_verification": waits,
        "refresh": SOON_SECONDS if waits or _moves(known) else 0,
        "mark": f"{backup.state} {[each.passed for each in known.verifications]}",
        "may_restore": backup.state == BackupState.STORED and backup.kind == BackupKind.LOGICAL,
        "now": timezone.now(),
    }


def _asked(request: HttpRequest) -> int | None:
    text = request.GET.get("asked", "")
    return (
        min(int(text), LONGEST_ASKED)
        if text.isascii() and text.isdigit() and len(text) < 5
        else None
    )


def _moves(known: Details) -> bool:
    """Tell whether a worker is at it; a verification without an end may also have been killed."""
    return is_under_way(known.backup) or any(
        each.finished_at is None and (timezone.now() - each.started_at).days < 1
        for each in known.verifications[:1]
    )


TONES = {
    BackupState.STORED.value: "good",
    BackupState.FAILED.value: "bad",
    BackupState.MISSING.value: "bad",
    BackupState.QUEUED.value: "warn",
    BackupState.RUNNING.value: "warn",
}

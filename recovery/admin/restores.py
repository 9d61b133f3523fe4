"""Restores: asked for with the plan in sight, and approved by another person."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django import forms
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from compliance_site.foundation.admin_pages import go, refuse
from recovery import tasks
from recovery.admin.pages import for_operators, for_readers, may_act, page
from recovery.admin.restore_progress import moment
from recovery.backups import catalogue
from recovery.databases import database
from recovery.exceptions import RecoveryError
from recovery.models import Backup, RestoreRequest, RestoreRequestState
from recovery.restore import requests, state
from recovery.restore.plan import Level, Plan
from recovery.restore.state import Restore

BACKUP_PAGE = "admin:recovery_backup_change"
REQUEST_PAGE = "admin:recovery_restorerequest_change"
PROGRESS_PAGE = "admin:recovery_restorerequest_progress"
PAGE_SIZE = 50
MOST_RESTORES = 50


@dataclass(frozen=True)
class Decision:
    """What somebody may decide about a request: what it is called and does, and who may."""

    address: str
    label: str
    effect: str
    done: str
    is_for_asker: bool
    act: Callable[[RestoreRequest], object]


class TypedForm(forms.Form):
    """The name typed that the server knows, so that nobody replaces the wrong one by a slip; and
    the plan that was seen.
    """

    name = forms.CharField(widget=forms.TextInput({"autocomplete": "off", "spellcheck": "false"}))
    seen = forms.CharField(widget=forms.HiddenInput(), required=False, max_length=10_000)

    def __init__(self, known_as: str, backup_id: str, data: Any = None) -> None:
        super().__init__(data)
        self.known_as = known_as
        self.dbname = _dbname(known_as, backup_id)

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        if name != self.dbname:
            raise forms.ValidationError(f"That is not the database; type {self.dbname}.")
        return name


class AskForm(TypedForm):
    reason = forms.CharField(
        max_length=500,
        widget=forms.Textarea({"rows": 3}),
        help_text="What happened, for whoever approves it and for the audit log.",
    )


@for_readers
@require_safe
def listing(request: HttpRequest) -> HttpResponse:
    """List what was asked for, and what was carried out, by the command too."""
    shown = Paginator(RestoreRequest.objects.all(), PAGE_SIZE).get_page(request.GET.get("page"))
    open_ones = RestoreRequest.objects.filter(
        state=RestoreRequestState.REQUESTED,
        requested_at__gte=timezone.now() - requests.LIFETIME,
    )
    restores, problem = _restores()
    context = {"shown": shown, "waiting": open_ones.count(), "problem": problem}
    return page(request, "restores.html", "Restores", restores=restores, **context)


@for_operators
@require_http_methods(["GET", "HEAD", "POST"])
def ask(request: HttpRequest, id: str) -> HttpResponse:
    """Show the plan of a restore; ask for it once it was seen and the database's name typed."""
    backup = catalogue.find(id)
    form = AskForm(backup.database, backup.pk, request.POST if request.method == "POST" else None)
    planned, problem = _plan(backup)
    if form.is_valid() and _is_seen(form, planned):
        try:
            asked = requests.request(backup, reason=form.cleaned_data["reason"])
        except RecoveryError as exc:
            return refuse(request, str(exc), BACKUP_PAGE, id)
        message = "It is asked for. Nothing happens until another operator approves it."
        return go(request, message, REQUEST_PAGE, asked.pk)
    context = _plan_context(planned, problem) | {"backup": backup, "form": form}
    return page(request, "restore_ask.html", f"Restore {backup.pk}", **context)


@for_readers
@require_safe
def detail(request: HttpRequest, id: int) -> HttpResponse:
    """Show a request: who asked, why, and who decided."""
    asked = get_object_or_404(RestoreRequest, pk=id)
    context = {
        "asked": asked,
        "is_open": _is_open(asked),
        "is_expired": requests.is_expired(asked),
        "is_own": asked.requested_by == request.user.pk,
        "offered": _offered(request, asked),
    }
    return page(request, "restore_request.html", f"Request {asked.pk}", **context)


@for_operators
@require_http_methods(["GET", "HEAD", "POST"])
def decide(request: HttpRequest, id: int, decision: str) -> HttpResponse:
    """Say what the decision does, with the plan looked at anew; make it once it is confirmed."""
    chosen = DECISIONS.get(decision)
    if chosen is None:
        raise Http404
    asked = get_object_or_404(RestoreRequest, pk=id)
    if chosen not in _offered(request, asked):
        return refuse(request, _why_not(request, asked), REQUEST_PAGE, id)
    form = TypedForm(
        asked.database, asked.backup_id, request.POST if request.method == "POST" else None
    )
    planned, problem = _plan_for(asked) if chosen is APPROVE else (None, "")
    if form.is_valid() and (chosen is not APPROVE or _is_seen(form, planned)):
        return _decided(request, asked, chosen)
    context = _plan_context(planned, problem) | {"asked": asked, "decision": chosen, "form": form}
    return page(request, "restore_decide.html", f"{chosen.label} request {id}", **context)


def _dbname(known_as: str, backup_id: str) -> str:
    """Return what the server calls a database, or called it in a backup of one that is not known here."""
    with suppress(RecoveryError):
        known = database(known_as)
        if not known.is_known_by_name_only:
            return known.dbname
    names = Backup.objects.filter(pk=backup_id).values_list("manifest__dbname", flat=True)
    return names.first() or known_as


def _restores() -> tuple[list[tuple[Restore, datetime | None]], str]:
    try:
        found = state.every()[:MOST_RESTORES]
    except RecoveryError as exc:
        return [], str(exc)
    return [(each, moment(each.started_at)) for each in found], ""


def _plan(backup: Backup) -> tuple[Plan | None, str]:
    try:
        return requests.look(backup), ""
    except RecoveryError as exc:
        return None, str(exc)


def _plan_for(asked: RestoreRequest) -> tuple[Plan | None, str]:
    try:
        return _plan(catalogue.find(asked.backup_id))
    except RecoveryError as exc:
        return None, str(exc)


def _is_seen(form: forms.Form, planned: Plan | None) -> bool:
    """Tell whether the plan is the one that was decided upon, and can be carried out."""
    if planned is None or planned.exit_code == 2:
        form.add_error(None, "It cannot be restored now; the plan says why.")
    elif form.cleaned_data["seen"] != requests.fingerprint(planned):
        form.add_error(None, "Something has changed since you looked. This is the plan now.")
    return not form.errors


def _plan_context(planned: Plan | None, problem: str) -> dict[str, Any]:
    findings = planned.findings if planned else ()
    return {
        "plan": planned,
        "problem": problem,
        "loss": [each for each in findings if each.subject == "loss"],
        "findings": [each for each in findings if each.subject != "loss"],
        "is_possible": planned is not None and planned.exit_code != 2,
        "fingerprint": requests.fingerprint(planned) if planned else "",
        "levels": Level,
    }


def _is_open(asked: RestoreRequest) -> bool:
    return asked.state == RestoreRequestState.REQUESTED


def _offered(request: HttpRequest, asked: RestoreRequest) -> list[Decision]:
    if not _is_open(asked) or not may_act(request.user):
        return []
    is_own = asked.requested_by == request.user.pk
    offered = [each for each in DECISIONS.values() if each.is_for_asker == is_own]
    return [each for each in offered if each is not APPROVE or not requests.is_expired(asked)]


def _why_not(request: HttpRequest, asked: RestoreRequest) -> str:
    if not _is_open(asked):
        return requests.DECIDED
    if asked.requested_by == request.user.pk:
        return requests.FOUR_EYES
    return "It is older than a day, or not yours to withdraw."


def _decided(request: HttpRequest, asked: RestoreRequest, decision: Decision) -> HttpResponse:
    try:
        decision.act(asked)
    except RecoveryError as exc:
        return refuse(request, str(exc), REQUEST_PAGE, asked.pk)
    asked.refresh_from_db()
    if decision is not APPROVE:
        return go(request, decision.done, REQUEST_PAGE, asked.pk)
    tasks.send_restore(asked)
    return go(request, decision.done, PROGRESS_PAGE, asked.restore_id)


APPROVE = Decision(
    "approve",
    "Approve",
    "A worker begins at once, and you answer for it. The database goes on serving until the"
    " restored one is checked; then both change names, and every session is ended.",
    "It is approved; a worker carries it out.",
    False,
    requests.approve,
)
DECISIONS = {
    decision.address: decision
    for decision in (
        APPROVE,
        Decision(
            "reject",
            "Reject",
            "Nothing is restored. Whoever thinks otherwise has to ask again.",
            "It is rejected; nothing was restored.",
            False,
            requests.reject,
        ),
        Decision(
            "withdraw",
            "Withdraw",
            "Nothing is restored. You can ask again.",
            "It is withdrawn; nothing was restored.",
            True,
            requests.withdraw,
        ),
    )
}

"""A run with its steps, and the list of runs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django.views.decorators.http import require_safe

from compliance_site.foundation.admin_pages import for_readers
from compliance_site.foundation.master_key import EnvelopeError
from secrets_rotation.admin.decision import decisions
from secrets_rotation.admin.pages import page
from secrets_rotation.admin.secret import consumer_rows
from secrets_rotation.exceptions import RotationError, TargetUnknownError
from secrets_rotation.models import IN_FLIGHT, Run, RunState, VersionState
from secrets_rotation.models.runs import ENDED
from secrets_rotation.rotators.base import Usage
from secrets_rotation.runs.usage import usages

PAGE_SIZE = 50
# The way of a run without trouble.
WAY = (
    RunState.PENDING,
    RunState.SETTING,
    RunState.SET,
    RunState.VERIFIED,
    RunState.DISTRIBUTING,
    RunState.GRACE,
    RunState.REVOKING,
    RunState.REVOKED,
)
WAY_BACK = (RunState.ROLLING_BACK, RunState.ROLLED_BACK)
# A page looks again: soon while the run works, now and then while it waits for a moment.
SOON_SECONDS, SELDOM_SECONDS = 2, 30


@dataclass(frozen=True)
class Station:
    """A state on the way: `tone` is done, now, halted or ahead."""

    state: str
    tone: str


@dataclass(frozen=True)
class Sessions:
    """What the target says of sessions with the old value; `error` when it says nothing."""

    usages: tuple[Usage, ...]
    error: str = ""


@for_readers
@require_safe
def listing(request: HttpRequest) -> HttpResponse:
    """List the runs, the newest first; `?state=` keeps those of one state, or all in flight."""
    state = request.GET.get("state", "")
    runs = Run.objects.select_related("secret", "version")
    if state == "in-flight":
        runs = runs.in_flight()
    elif state in RunState.values:
        runs = runs.filter(state=state)
    shown = Paginator(runs, PAGE_SIZE).get_page(request.GET.get("page"))
    in_flight = Run.objects.in_flight()
    return page(
        request,
        "runs.html",
        "Runs",
        runs=shown,
        state=state,
        states=RunState.values,
        in_flight=in_flight.count(),
        attention=in_flight.filter(state=RunState.ATTENTION).count(),
    )


@for_readers
@require_safe
def detail(request: HttpRequest, id: int) -> HttpResponse:
    """Show a run; `?sessions=1` asks the target who still uses the old value."""
    run = run_of(id)
    sessions = _sessions(run) if request.GET.get("sessions") else None
    return page(
        request, "run.html", f"Run {run.pk}: {run.secret}", sessions=sessions, **_context(run)
    )


@for_readers
@require_safe
def live(request: HttpRequest, id: int) -> HttpResponse:
    """Answer with the part of a run's page that changes, for its script to put in place."""
    return page(request, "_run_live.html", f"Run {id}", **_context(run_of(id)))


def run_of(id: int) -> Run:
    runs = Run.objects.select_related("secret", "version", "previous")
    return get_object_or_404(runs.prefetch_related("steps"), pk=id)


def _context(run: Run) -> dict[str, Any]:
    return {
        "run": run,
        "way": stations(run),
        "offered": decisions(run),
        "in_flight": run.state in IN_FLIGHT,
        "refresh": _refresh_seconds(run, timezone.now()),
        "old_works": run.previous is not None and run.previous.state == VersionState.PREVIOUS,
        "consumers": consumer_rows(run.secret, run.version),
        "is_late": bool(run.grace_until and run.grace_until <= timezone.now()),
    }


def stations(run: Run) -> list[Station]:
    """Return the run's way: what is behind it, where it is, what is ahead."""
    halted = run.state == RunState.ATTENTION
    at = run.halted_in if halted and run.halted_in else run.state
    is_back = at in WAY_BACK
    way = (*_passed(run), *WAY_BACK) if is_back else WAY
    here = way.index(RunState(at))
    return [Station(state, _tone(place - here, halted, run)) for place, state in enumerate(way)]


def _passed(run: Run) -> list[RunState]:
    """Return the states before a way back, as the steps tell."""
    told = {step.state for step in run.steps.all()}
    return [state for state in WAY if state in told]


def _tone(distance: int, halted: bool, run: Run) -> str:
    if distance:
        return "done" if distance < 0 else "ahead"
    if halted:
        return "halted"
    if run.state == RunState.ROLLED_BACK:
        return "halted"
    return "done" if run.state in ENDED else "now"


def _refresh_seconds(run: Run, now: datetime) -> int:
    """Return after how long the page looks again; 0 for never."""
    if run.state not in IN_FLIGHT or run.state == RunState.ATTENTION:
        return 0
    waits_long = (run.next_attempt_at - now).total_seconds() > SELDOM_SECONDS
    return SELDOM_SECONDS if waits_long else SOON_SECONDS


def _sessions(run: Run) -> Sessions:
    try:
        return Sessions(tuple(usages(run)))
    except TargetUnknownError as exc:
        return Sessions((), f"The target did not answer: {exc.reason}.")
    except (EnvelopeError, RotationError) as exc:
        return Sessions((), f"The target could not be asked: {exc}")

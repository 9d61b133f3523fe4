"""Emergencies: the list, one with its progress and report, and what a second officer decides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django import forms
from django.core.paginator import Paginator
from django.db.models import Count
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_http_methods, require_safe

from compliance_site.foundation.admin_pages import for_readers, go, refuse
from secrets_rotation import break_glass, tasks
from secrets_rotation.admin.pages import for_officers, may_act, page
from secrets_rotation.break_glass_plan import plan, runs_in_flight
from secrets_rotation.exceptions import BreakGlassStateError, FourEyesError
from secrets_rotation.models import (
    BreakGlass,
    BreakGlassMember,
    BreakGlassState,
    Run,
    RunState,
    Secret,
    VersionState,
)

EMERGENCY_PAGE = "admin:secrets_rotation_breakglass_change"
PAGE_SIZE = 50
SOON_SECONDS, SELDOM_SECONDS = 2, 30
# What `break_glass.progress` counts, in words, with the tone of its part of the bar.
STAGES = (
    ("rotated", "rotated", "good"),
    ("underWay", "under way", "now"),
    ("needsPerson", "needs a person", "bad"),
    ("waiting", "waiting", "ahead"),
)
RESTING = (RunState.GRACE, RunState.ATTENTION)


@dataclass(frozen=True)
class Part:
    """One stage of the bar: so many secrets, drawn from the place `begins`."""

    stage: str
    words: str
    tone: str
    count: int
    begins: int


@dataclass(frozen=True)
class Row:
    """One secret of an emergency: `waits_for` others, or for `earlier`, a run of its own."""

    member: BreakGlassMember
    stage: str
    waits_for: tuple[Secret, ...]
    earlier: Run | None

    @property
    def rotated_at(self) -> datetime | None:
        run = self.member.run
        return run.rotation.rotated_at if run and hasattr(run, "rotation") else None

    @property
    def old_ended_at(self) -> datetime | None:
        """Return when the old value ended; None while it works, or when there was none."""
        previous = self.member.run.previous if self.member.run else None
        is_ended = previous is not None and previous.state == VersionState.REVOKED
        return previous.ended_at if previous and is_ended else None

    @property
    def had_value(self) -> bool:
        return self.member.run is None or self.member.run.previous_id is not None


@dataclass(frozen=True)
class Decision:
    """What a second officer may decide: what it is called and does."""

    address: str
    label: str
    effect: str
    done: str
    act: Callable[[BreakGlass], None]


def _approve(emergency: BreakGlass) -> None:
    break_glass.approve(emergency)
    # Or it would wait for the next minute.
    tasks.tick_soon()


DECISIONS = {
    decision.address: decision
    for decision in (
        Decision(
            "approve",
            "Approve",
            "The rotations begin at once, and you answer for them. This cannot be taken back:"
            " each rotation can only be halted on its own.",
            "It is approved; the rotations begin.",
            _approve,
        ),
        Decision(
            "reject",
            "Reject",
            "Nothing is rotated. Whoever thinks otherwise has to ask again.",
            "It is rejected; nothing was rotated.",
            break_glass.reject,
        ),
    )
}


class DecideForm(forms.Form):
    """The selection, typed: nobody lets the wrong secrets be rotated by a slip."""

    name = forms.CharField(widget=forms.TextInput({"autocomplete": "off", "spellcheck": "false"}))

    def __init__(self, emergency: BreakGlass, data: Any = None) -> None:
        super().__init__(data)
        self.selection = emergency.selection

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        if name != self.selection.strip():
            raise forms.ValidationError(f"That is not it; type {self.selection}.")
        return name


@for_readers
@require_safe
def listing(request: HttpRequest) -> HttpResponse:
    """List the emergencies, the newest first."""
    emergencies = BreakGlass.objects.annotate(number=Count("members")).order_by("-pk")
    shown = Paginator(emergencies, PAGE_SIZE).get_page(request.GET.get("page"))
    rows = [(each, parts(break_glass.progress(each))) for each in shown]
    waiting = BreakGlass.objects.filter(state=BreakGlassState.REQUESTED).count()
    rotating = BreakGlass.objects.filter(state=BreakGlassState.ROTATING).count()
    context = {"shown": shown, "rows": rows, "waiting": waiting, "rotating": rotating}
    return page(request, "emergencies.html", "Break-glass", **context)


@for_readers
@require_safe
def detail(request: HttpRequest, id: int) -> HttpResponse:
    """Show an emergency: what it would do, how far it is, or the report of what it did."""
    emergency = get_object_or_404(BreakGlass, pk=id)
    return page(request, "emergency.html", f"Emergency {id}", **_context(request, emergency))


@for_readers
@require_safe
def live(request: HttpRequest, id: int) -> HttpResponse:
    """Answer with the part of an emergency's page that changes, for its script to put in place."""
    emergency = get_object_or_404(BreakGlass, pk=id)
    context = _context(request, emergency)
    return page(request, "_emergency_live.html", f"Emergency {id}", **context)


@for_officers
@require_http_methods(["GET", "HEAD", "POST"])
def decide(request: HttpRequest, id: int, decision: str) -> HttpResponse:
    """Say what the decision does; make it once a second officer has confirmed it."""
    chosen = DECISIONS.get(decision)
    if chosen is None:
        raise Http404
    emergency = get_object_or_404(BreakGlass, pk=id)
    if emergency.state != BreakGlassState.REQUESTED:
        return refuse(request, str(BreakGlassStateError.__doc__), EMERGENCY_PAGE, id)
    if _has_asked(request, emergency):
        return refuse(request, str(FourEyesError.__doc__), EMERGENCY_PAGE, id)
    form = DecideForm(emergency, request.POST if request.method == "POST" else None)
    if form.is_valid():
        return _decided(request, emergency, chosen)
    context = {"emergency": emergency, "decision": chosen, "form": form}
    return page(request, "decide_emergency.html", f"{chosen.label} emergency {id}", **context)


def _decided(request: HttpRequest, emergency: BreakGlass, decision: Decision) -> HttpResponse:
    try:
        decision.act(emergency)
    except (BreakGlassStateError, FourEyesError) as exc:
        return refuse(request, str(exc), EMERGENCY_PAGE, emergency.pk)
    return go(request, decision.done, EMERGENCY_PAGE, emergency.pk)


def parts(counts: dict[str, int]) -> list[Part]:
    """Return the bar, each part beginning where the one before ends."""
    drawn, begins = [], 0
    for stage, words, tone in STAGES:
        drawn.append(Part(stage, words, tone, counts[stage], begins))
        begins += counts[stage]
    return drawn


def _has_asked(request: HttpRequest, emergency: BreakGlass) -> bool:
    return request.user.pk == emergency.requested_by


def _context(request: HttpRequest, emergency: BreakGlass) -> dict[str, Any]:
    rows = _rows(emergency)
    is_open = emergency.state == BreakGlassState.REQUESTED
    stages = [row.stage for row in rows]
    counts = {stage: stages.count(stage) for stage, _, _ in STAGES}
    return {
        "emergency": emergency,
        "rows": rows,
        "planned": plan(row.member.secret for row in rows) if is_open else [],
        "parts": parts(counts),
        "counts": counts,
        "has_asked": _has_asked(request, emergency),
        "decides": is_open and may_act(request.user) and not _has_asked(request, emergency),
        "decisions": DECISIONS.values(),
        "refresh": _refresh_seconds(emergency, rows),
        "mark": " ".join([emergency.state, *(f"{row.stage}{_state(row)}" for row in rows)]),
    }


def _rows(emergency: BreakGlass) -> list[Row]:
    """Return the members as they stand, those that begin first on top."""
    members = (
        emergency.members.select_related("secret", "run__previous", "run__rotation")
        .prefetch_related("secret__depends_on")
        .order_by("run_id", "pk")
    )
    staged = break_glass.staged(members)
    unsettled = {each.secret for each, _ in staged if not break_glass.is_promoted(each)}
    earlier = runs_in_flight(each.secret for each, _ in staged if _is_to_begin(each))
    return [_row(member, stage, unsettled, earlier) for member, stage in staged]


def _row(
    member: BreakGlassMember, stage: str, unsettled: set[Secret], earlier: dict[int, Run]
) -> Row:
    if not _is_to_begin(member):
        return Row(member, stage, (), None)
    others = tuple(other for other in member.secret.depends_on.all() if other in unsettled)
    return Row(member, stage, others, earlier.get(member.secret_id))


def _is_to_begin(member: BreakGlassMember) -> bool:
    return member.run_id is None and not member.obstacle


def _state(row: Row) -> str:
    return row.member.run.state if row.member.run else ""


def _refresh_seconds(emergency: BreakGlass, rows: list[Row]) -> int:
    """Return after how long the page looks again; 0 for never."""
    if emergency.state == BreakGlassState.REQUESTED:
        return SELDOM_SECONDS
    if emergency.state != BreakGlassState.ROTATING:
        return 0
    moving = [row for row in rows if row.stage in ("underWay", "waiting")]
    rests = all(_state(row) in RESTING or row.earlier or row.waits_for for row in moving)
    return SELDOM_SECONDS if rests else SOON_SECONDS

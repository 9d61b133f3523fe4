"""What a person may decide about a run, each on a page that says what it does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from compliance_site.foundation.admin_pages import go, refuse
from compliance_site.foundation.secret_text import SecretText
from secrets_rotation import tasks
from secrets_rotation.admin.fields import ConfirmationForm, SecretTextField
from secrets_rotation.admin.pages import for_officers, page
from secrets_rotation.admin.secret import consumer_rows
from secrets_rotation.exceptions import RunBusyError, RunStateError
from secrets_rotation.models import Run, RunState
from secrets_rotation.models.runs import BEFORE_PROMOTION
from secrets_rotation.runs import actions

RUN_PAGE = "admin:secrets_rotation_run_change"


@dataclass(frozen=True)
class Decision:
    """One decision: what it is called and does, and when it may be made."""

    address: str
    label: str
    effect: str
    done: str
    may: Callable[[Run], bool]
    act: Callable[[Run, SecretText | None], None]
    takes_value: bool = False


class DecisionForm(ConfirmationForm):
    """The confirmation, and a value where the decision takes one."""

    new_value = SecretTextField(required=False, label="The value that the target accepts")

    def __init__(self, decision: Decision, run: Run, data: Any = None) -> None:
        super().__init__(run.secret, data)
        if not decision.takes_value:
            del self.fields["new_value"]


def decisions(run: Run) -> list[Decision]:
    """Return what may be decided about the run in its state."""
    return [decision for decision in DECISIONS.values() if decision.may(run)]


@for_officers
@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
def decide(request: HttpRequest, id: int, decision: str) -> HttpResponse:
    """Say what the decision does; make it and carry the run on once it is confirmed."""
    chosen = DECISIONS.get(decision)
    if chosen is None:
        raise Http404
    runs = Run.objects.select_related("secret", "version", "previous")
    run = get_object_or_404(runs, pk=id)
    if not chosen.may(run):
        message = f"A run in {run.state} cannot be changed in this way: {chosen.label.lower()}."
        return refuse(request, message, RUN_PAGE, id)
    form = DecisionForm(chosen, run, request.POST if request.method == "POST" else None)
    if form.is_valid():
        return _made(request, chosen, run, form.cleaned_data.get("new_value"))
    rows = consumer_rows(run.secret, run.version)
    missing = [row for row in rows if row.acknowledgement is None]
    title = f"{chosen.label}: run {run.pk} of {run.secret}"
    return page(request, "decide.html", title, run=run, decision=chosen, form=form, missing=missing)


def _made(
    request: HttpRequest, decision: Decision, run: Run, value: SecretText | None
) -> HttpResponse:
    try:
        decision.act(run, value)
    except (RunBusyError, RunStateError) as exc:
        return refuse(request, str(exc), RUN_PAGE, run.pk)
    tasks.advance_now(run.pk)
    return go(request, decision.done, RUN_PAGE, run.pk)


def _needs_a_person(run: Run) -> bool:
    return run.state == RunState.ATTENTION


def _stopped_in(run: Run) -> str:
    return run.halted_in if _needs_a_person(run) else run.state


ALL = (
    Decision(
        "resume",
        "Resume",
        "The run goes on where it stopped, with fresh attempts. What the target says decides"
        " what is done first.",
        "The run was resumed.",
        _needs_a_person,
        lambda run, value: actions.resume(run),
    ),
    Decision(
        "adopt",
        "Adopt",
        "What the target accepts now becomes the new value: the one you give, or the pending"
        " one as it is. It is verified before it becomes current.",
        "The value is adopted as soon as the target confirms it.",
        lambda run: _needs_a_person(run) and run.halted_in in BEFORE_PROMOTION,
        actions.adopt,
        takes_value=True,
    ),
    Decision(
        "roll-back",
        "Roll back",
        "The new value is taken back at the target and never becomes current. The current"
        " value stays.",
        "The run is being rolled back.",
        lambda run: (
            _stopped_in(run) in (*BEFORE_PROMOTION, RunState.ROLLING_BACK)
            and run.state != RunState.ROLLING_BACK
        ),
        lambda run, value: actions.roll_back(run),
    ),
    Decision(
        "end-grace",
        "End grace now",
        "The old value ends at once, and with it the sessions that it opened. Whoever does not"
        " use the new one yet is locked out.",
        "The grace is ended.",
        lambda run: run.state in (RunState.DISTRIBUTING, RunState.GRACE),
        lambda run, value: actions.end_grace(run),
    ),
)
DECISIONS = {decision.address: decision for decision in ALL}

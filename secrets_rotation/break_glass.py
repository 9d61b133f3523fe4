"""Break-glass: rotate every secret of a type or tag now, in the order of their dependencies.

One security officer asks, another one approves. What follows is carried on by the minute's
tick, so that it survives whatever happens meanwhile, and every step is in the runs' history.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from django.db import models, transaction
from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Now

from audit.capture.actors import Actor, acting_as, current
from audit.capture.recording import record
from audit.models import Action, ActorType
from compliance_site.foundation.master_key import EnvelopeError
from secrets_rotation.exceptions import (
    BreakGlassStateError,
    FourEyesError,
    NothingSelectedError,
    RotationError,
    RunBusyError,
    RunInFlightError,
    RunStateError,
)
from secrets_rotation.models import (
    ENDED,
    BreakGlass,
    BreakGlassMember,
    BreakGlassState,
    Run,
    RunState,
    Secret,
    Trigger,
)
from secrets_rotation.runs import actions
from secrets_rotation.runs.start import start

# The new value of such a run is current: what depends on it can follow.
PROMOTED = (RunState.DISTRIBUTING, RunState.GRACE, RunState.REVOKING, *ENDED)


@dataclass(frozen=True)
class Selection:
    """Which secrets: of a type, or with a tag; exactly one of the two."""

    secret_type: str = ""
    tag: str = ""

    def __str__(self) -> str:
        return f"type {self.secret_type}" if self.secret_type else f"tag {self.tag}"

    @property
    def secrets(self) -> Iterable[Secret]:
        matches = Q(policy=self.secret_type) if self.secret_type else Q(tags__contains=[self.tag])
        return Secret.objects.living().filter(matches)


def request(selection: Selection, *, reason: str, is_without_grace: bool) -> BreakGlass:
    """Ask for an emergency rotation; raise `NothingSelectedError` when no secret matches."""
    actor, user_id = _person()
    secrets = list(selection.secrets)
    if not secrets:
        raise NothingSelectedError(f"No secret has {selection}.")
    with transaction.atomic():
        emergency = BreakGlass.objects.create(
            selection=str(selection),
            reason=reason,
            is_without_grace=is_without_grace,
            requested_by=user_id,
            requester=actor.name,
        )
        BreakGlassMember.objects.bulk_create(
            BreakGlassMember(break_glass=emergency, secret=secret) for secret in secrets
        )
        _tell(emergency, "requested", {"reason": reason, "secrets": len(secrets)})
    return emergency


def approve(emergency: BreakGlass) -> None:
    """Let it begin; raise `FourEyesError` for whoever asked for it themselves."""
    _, user_id = _person()
    if user_id == emergency.requested_by:
        raise FourEyesError(FourEyesError.__doc__)
    _decide(emergency, BreakGlassState.ROTATING)


def reject(emergency: BreakGlass) -> None:
    """Call it off; whoever asked for it may, too."""
    _decide(emergency, BreakGlassState.REJECTED)


def carry_on() -> list[int]:
    """Begin what can begin in every approved emergency; return the new runs, to be carried on."""
    begun: list[int] = []
    for emergency in BreakGlass.objects.filter(state=BreakGlassState.ROTATING):
        # Whoever approved it answers for what follows.
        decider = Actor(ActorType.USER, emergency.decider, emergency.decided_by)
        with acting_as(decider, details={"breakGlass": emergency.pk}):
            for member in _ready(emergency):
                begun += _begin(member)
            _end_if_done(emergency)
    return begun


def progress(emergency: BreakGlass) -> dict[str, int]:
    """Return how many secrets are rotated, under way, waiting and in need of a person."""
    counts = {"rotated": 0, "underWay": 0, "waiting": 0, "needsPerson": 0}
    for _, stage in staged(emergency.members.select_related("run")):
        counts[stage] += 1
    return counts


def staged(
    members: models.QuerySet[BreakGlassMember],
) -> list[tuple[BreakGlassMember, str]]:
    """Return each member with the count of `progress` that it belongs to."""
    stuck = Run.objects.filter(secret=OuterRef("secret"), state=RunState.ATTENTION)
    found = members.annotate(is_stuck=Exists(stuck))
    return [(member, _stage(member, is_stuck=member.is_stuck)) for member in found]


def _ready(emergency: BreakGlass) -> list[BreakGlassMember]:
    """Return the members that wait for nothing any more, least of all for one another."""
    members = list(
        emergency.members.select_related("run", "secret__policy", "break_glass").prefetch_related(
            "secret__depends_on"
        )
    )
    unsettled = {member.secret_id for member in members if not is_promoted(member)}
    waiting = [member for member in members if member.run_id is None and not member.obstacle]
    return [
        member
        for member in waiting
        if unsettled.isdisjoint(other.pk for other in member.secret.depends_on.all())
    ]


def _stage(member: BreakGlassMember, *, is_stuck: bool) -> str:
    """Return where a secret stands; `is_stuck` when a run of it, maybe an earlier one, waits."""
    run = member.run
    if member.obstacle or (run and run.state == RunState.ROLLED_BACK):
        return "needsPerson"
    if is_stuck and (run is None or run.ended_at is None):
        return "needsPerson"
    if run is None:
        return "waiting"
    return "rotated" if run.state == RunState.REVOKED else "underWay"


def is_promoted(member: BreakGlassMember) -> bool:
    """Tell whether what depends on it may follow; a secret that cannot rotate holds nobody up."""
    return bool(member.obstacle) or (member.run is not None and member.run.state in PROMOTED)


def _begin(member: BreakGlassMember) -> list[int]:
    """Begin one rotation; note the obstacle when the console cannot.

    Two ticks at once, or one after a kill, begin the same run. No client can send a key with a tab.
    """
    grace = timedelta(0) if member.break_glass.is_without_grace else None
    key = f"break-glass\t{member.pk}"
    try:
        run = start(member.secret, trigger=Trigger.BREAK_GLASS, grace=grace, idempotency_key=key)
    except RunInFlightError as exc:
        return _make_way(Run.objects.get(pk=exc.run_id))
    except (RotationError, EnvelopeError) as exc:
        BreakGlassMember.objects.filter(pk=member.pk).update(obstacle=str(exc)[:500])
        return []
    BreakGlassMember.objects.filter(pk=member.pk).update(run=run)
    return [run.pk]


def _make_way(run: Run) -> list[int]:
    """End the grace of an earlier run, for the new one to begin; anything else runs its course."""
    if run.state != RunState.GRACE:
        return []
    # Another process is at it, or its grace is over this moment: the next tick sees.
    with contextlib.suppress(RunBusyError, RunStateError):
        actions.end_grace(run)
    return [run.pk]


def _end_if_done(emergency: BreakGlass) -> None:
    open_members = emergency.members.filter(obstacle="").exclude(run__state__in=ENDED)
    if open_members.exists():
        return
    with transaction.atomic():
        rotating = BreakGlass.objects.filter(pk=emergency.pk, state=BreakGlassState.ROTATING)
        if rotating.update(state=BreakGlassState.DONE, ended_at=Now()):
            _tell(emergency, "done", progress(emergency))


def _decide(emergency: BreakGlass, state: BreakGlassState) -> None:
    actor, user_id = _person()
    with transaction.atomic():
        requested = BreakGlass.objects.filter(pk=emergency.pk, state=BreakGlassState.REQUESTED)
        decided = requested.update(
            state=state, decided_by=user_id, decider=actor.name, decided_at=Now()
        )
        if not decided:
            raise BreakGlassStateError(BreakGlassStateError.__doc__)
        _tell(emergency, "approved" if state == BreakGlassState.ROTATING else "rejected", {})


def _person() -> tuple[Actor, int]:
    actor = current().actor()
    if actor.user_id is None:
        raise FourEyesError("Only people ask for an emergency rotation and approve it.")
    return actor, actor.user_id


def _tell(emergency: BreakGlass, what: str, details: dict[str, object] | dict[str, int]) -> None:
    record(
        Action.ROTATE,
        resource=f"/secrets/break-glass/{emergency.pk}",
        details={"breakGlass": what, "selection": emergency.selection, **details},
    )

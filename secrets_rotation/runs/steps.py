"""The steps of a run, one for each state: see the target first, then act, then write it down.

A step returns True when the run goes on at once and False when it waits. It may have been
begun before, by a process that was killed at any point: what the target says decides, and
silence is never taken for a no.

| killed in | the target says | then |
| --- | --- | --- |
| PENDING | - | the same value is set |
| SETTING, the answer lost | new value works | it is not set again |
| SETTING | both refused | set again, with an alarm: someone else changed it |
| SETTING | nothing | wait; never conclude a refusal |
| SET, VERIFIED | new value works | promote, in one transaction with the deliveries |
| DISTRIBUTING | - | the outbox delivers again |
| REVOKING | old value works | revoke again; done when it is refused and no session is left |
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from django.db import transaction
from django.db.models import F, Value
from django.db.models.functions import Coalesce, Now, TruncDate

from secrets_rotation import notices
from secrets_rotation.delivery import consumers, outbox
from secrets_rotation.exceptions import ValueRefusedError
from secrets_rotation.models import (
    Rotation,
    RunState,
    Secret,
    Trigger,
    Version,
    VersionState,
)
from secrets_rotation.policies.rules import rules_in_force
from secrets_rotation.rotators.base import Answer
from secrets_rotation.runs.start import pending_version
from secrets_rotation.runs.work import Work
from secrets_rotation.unforeseen import texts_withheld

RECHECK = timedelta(minutes=1)
# Some targets apply a change a moment after they answered.
VERIFICATIONS = 3


def begin(work: Work) -> bool:
    """PENDING: say durably that the target is about to be touched."""
    if not work.take_principal():
        return False
    return work.move(RunState.SETTING, "The target is about to be changed.")


def set_value(work: Work) -> bool:
    """SETTING: set the pending value unless the target takes it already."""
    if not work.take_principal():
        return False
    if not work.rotator.verifies:
        return _set(work)
    answer = work.probe(work.pending)
    if answer is Answer.WORKS:
        return _is_set(work, "The target takes the new value already; it is not set again.")
    if answer is Answer.UNKNOWN or (old := _answer_of_previous(work)) is Answer.UNKNOWN:
        return work.wait("The target does not answer.")
    if old is Answer.REFUSED:
        text = "The target refuses the current value too: someone else changed it. Setting anew."
        work.lease.move(RunState.SETTING, text, is_trouble=True)
    return _set(work)


def verify(work: Work) -> bool:
    """SET: open the target with the new value before anybody depends on it."""
    if not work.rotator.verifies:
        return work.move(RunState.VERIFIED, "This target cannot be asked; nothing was verified.")
    answer = work.probe(work.pending)
    if answer is Answer.WORKS:
        return work.move(RunState.VERIFIED, "The new value opens the target.")
    if answer is Answer.UNKNOWN or work.run.attempts < VERIFICATIONS:
        return work.wait("The target did not confirm the new value.")
    return work.move(
        RunState.ROLLING_BACK,
        "The target refuses the new value that it was given.",
        is_trouble=True,
    )


def promote(work: Work) -> bool:
    """VERIFIED: make the version current, with its history and its deliveries, in one go."""
    run, version, secret = work.run, work.run.version, work.run.secret
    with transaction.atomic():
        work.lease.confirm()
        Secret.objects.select_for_update(of=("self",)).get(pk=secret.pk)
        secret.versions.filter(state=VersionState.CURRENT).update(
            state=VersionState.PREVIOUS, superseded_at=Coalesce(Value(run.set_at), Now())
        )
        Version.objects.filter(pk=version.pk).update(state=VersionState.CURRENT, promoted_at=Now())
        Rotation.objects.create(
            run=run,
            secret=secret,
            version=version,
            rotated_at=Now(),
            rotated_by=run.requested_by,
            actor_type=run.actor_type,
            actor=run.actor,
        )
        # A rotation that someone asked for moves the schedule; one of the schedule keeps it.
        keeps_anchor = run.trigger == Trigger.SCHEDULE
        anchor = F("anchored_on") if keeps_anchor else TruncDate(Now())
        Secret.objects.filter(pk=secret.pk).update(last_rotated_at=Now(), anchored_on=anchor)
        outbox.enqueue(version)
        return work.move(
            RunState.DISTRIBUTING, f"Version {version.number} is current and on its way out."
        )


def distribute(work: Work) -> bool:
    """DISTRIBUTING: begin the grace when every consumer has the new version."""
    summary = outbox.state_of(work.run.version)
    if summary.waiting:
        return work.sleep_until(Now() + RECHECK, f"{summary.waiting} deliveries are under way.")
    if work.run.previous is None:
        return end(work, _without_earlier_value(work))
    work.lease.write(grace_until=Now() + F("grace"))
    return work.move(
        RunState.GRACE, "Every consumer has the new version; the old one goes on working."
    )


def wait_for_grace(work: Work) -> bool:
    """GRACE: end it when all consumers acknowledged, or at its deadline."""
    missing = [consumer.name for consumer in consumers.unacknowledged(work.run.version)]
    if not missing and work.run.secret.consumers.filter(retired_at=None).exists():
        return work.move(RunState.REVOKING, "All consumers use the new version.")
    if not _is_over(work):
        return work.sleep_until(F("grace_until"))
    text = "The grace is over."
    if missing:
        text += f" Not acknowledged by: {', '.join(missing)}."
    return work.move(RunState.REVOKING, text, is_trouble=bool(missing))


def revoke(work: Work) -> bool:
    """REVOKING: end the old value at the target, and see that it and its sessions are gone."""
    assert work.previous is not None, "a first value has nothing to revoke"
    if not work.take_principal():
        return False
    work.lease.confirm()
    with texts_withheld():
        work.rotator.revoke(work.previous, work.pending, work.lease)
        left = work.rotator.in_use(work.previous)
    if left:
        return work.wait(f"{len(left)} sessions of the old value are still open.")
    if work.rotator.verifies and work.probe(work.previous) is not Answer.REFUSED:
        return work.wait("The target does not refuse the old value yet.")
    if not work.rotator.verifies:
        return end(
            work, "The old value was ended as far as the console can; the target cannot be asked."
        )
    return end(work, "The old value is refused and no session of it is left.")


def roll_back(work: Work) -> bool:
    """ROLLING_BACK: take the new value back and see that the current one works."""
    if not work.take_principal():
        return False
    work.lease.confirm()
    with texts_withheld():
        work.rotator.discard(work.pending, work.previous, work.lease)
    if work.rotator.verifies:
        if work.probe(work.pending) is not Answer.REFUSED:
            return work.wait("The target does not refuse the value that was taken back.")
        if (answer := _answer_of_previous(work)) is Answer.UNKNOWN:
            return work.wait("The target does not answer.")
        if answer is Answer.REFUSED:
            return work.ask("The target refuses the current value as well.")
    return give_up(work, "The new value was taken back; the current one stays.")


def _without_earlier_value(work: Work) -> str:
    """Say of a first value what the console cannot end: what the target accepted before."""
    text = "There was no earlier value to end."
    if work.rotator.overlaps:
        text += " What the target accepted before, the console does not know: end it there."
    return text


def _answer_of_previous(work: Work) -> Answer:
    """Probe what is current; with no earlier value nothing can be lost."""
    return work.probe(work.previous) if work.previous else Answer.WORKS


def _set(work: Work) -> bool:
    work.lease.confirm()
    try:
        with texts_withheld():
            work.rotator.set(work.pending, work.previous, work.lease)
    except ValueRefusedError as exc:
        return _refused(work, exc.rule)
    return _is_set(work, "The new value is set at the target.")


def _is_set(work: Work, text: str) -> bool:
    work.lease.write(set_at=Now())
    return work.move(RunState.SET, text)


def _refused(work: Work, rule: str) -> bool:
    """Make another value once; one that was supplied goes back to whoever brought it."""
    run = work.run
    reason = f"The target refused the value: {rule}."
    if not run.version.is_generated or run.is_second_value:
        return give_up(work, reason)
    with transaction.atomic():
        run.version.end(VersionState.DISCARDED)
        secret = Secret.objects.select_for_update(of=("self",)).get(pk=run.secret_id)
        version = pending_version(secret, work.rotator, rules_in_force(secret), None)
        work.lease.write(version=version, is_second_value=True)
        return work.move(RunState.SETTING, f"{reason} Another one was made.", is_trouble=True)


def give_up(work: Work, text: str) -> bool:
    """End the run before its promotion, the target being as it was."""
    with transaction.atomic():
        work.run.version.end(VersionState.DISCARDED)
        work.lease.move(
            RunState.ROLLED_BACK, text, is_trouble=True, ended_at=Now(), reason=text[:500]
        )
        notices.rotation_failed(work.run, text)
    return False


def end(work: Work, text: str, *, is_trouble: bool = False) -> bool:
    """End the run after its promotion, and forget the old value; `text` says what became of it."""
    reason = text[:500] if is_trouble else ""
    with transaction.atomic():
        if work.run.previous is not None:
            work.run.previous.end(VersionState.REVOKED)
        work.lease.move(
            RunState.REVOKED, text, is_trouble=is_trouble, ended_at=Now(), reason=reason
        )
    return False


def _is_over(work: Work) -> bool:
    runs = type(work.run).objects.filter(pk=work.run.pk, grace_until__lte=Now())
    return runs.exists()


STEPS: dict[str, Callable[[Work], bool]] = {
    RunState.PENDING: begin,
    RunState.SETTING: set_value,
    RunState.SET: verify,
    RunState.VERIFIED: promote,
    RunState.DISTRIBUTING: distribute,
    RunState.GRACE: wait_for_grace,
    RunState.REVOKING: revoke,
    RunState.ROLLING_BACK: roll_back,
}

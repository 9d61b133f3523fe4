"""A restore is asked for by one person and approved by another; then a worker carries it out.

How it goes is in the state file of its id, known since the approval: this table may be in the
database that is swapped.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone

from audit.capture.actors import Actor, acting_as, current
from audit.capture.recording import record
from audit.capture.redaction import redact_text
from audit.models import Action, ActorType
from recovery.backups import source
from recovery.backups.requests import refuse_unless_stored
from recovery.databases import Database, database
from recovery.exceptions import BusyError, RecoveryError, RefusedError
from recovery.models import Backup, RestoreRequest, RestoreRequestState
from recovery.restore import plan, run, state
from recovery.restore.copies import FILE, KEY
from recovery.restore.plan import Level, Plan
from recovery.restore.state import Asked, Step, UnknownRestoreError

# Whoever approves later decides about another database than the asker saw.
LIFETIME = timedelta(days=1)
# A worker that hears of an approval later does nothing: people think it did not happen.
TAKEN_WITHIN = timedelta(hours=1)
FOUR_EYES = "Whoever asked for a restore cannot approve or reject it; they can withdraw it."
DECIDED = "It is decided already."
LATE = "No worker began it within an hour of its approval; nothing was changed. Ask for it anew."
NO_KEY = (
    "This process has no key that opens backups; the worker looks whether it has the right one."
)
NO_RIGHTS = "This process has no administrator's rights; the worker looks whether it has them."
UNSENT = "The queue of tasks could not be reached, so no worker heard of it. Nothing was changed."


def look(backup: Backup) -> Plan:
    """Plan a restore of a stored backup; raise `RecoveryError`.

    This process may have fewer rights than the worker, which looks again before it begins.
    """
    refuse_unless_stored(backup)
    found = source.find(backup.pk)
    target = database(found.manifest.database)
    if target.is_known_by_name_only:
        return _left_to_worker(_unseen(found), target)
    planned = _left_to_worker(plan.make(target, found), target)
    return plan.with_rows(planned, target, found.manifest)


def fingerprint(planned: Plan) -> str:
    """Name what was found, so that nobody decides on the strength of another plan."""
    found = sorted((each.subject, each.level.value) for each in planned.findings)
    return json.dumps([planned.backup_id, planned.database, found])


def request(backup: Backup, *, reason: str) -> RestoreRequest:
    """Ask for a restore; raise `BusyError` when one of this database waits for its approval."""
    actor, user_id = _person()
    refuse_unless_stored(backup)
    if waiting := _waiting(backup.database):
        raise BusyError(f"Request {waiting.pk} for {backup.database} waits for its approval.")
    with transaction.atomic():
        asked = RestoreRequest.objects.create(
            database=backup.database,
            backup_id=backup.pk,
            reason=reason,
            requested_by=user_id,
            requester=actor.name[:200],
        )
        _tell(asked, "requested", reason=reason)
    return asked


def approve(asked: RestoreRequest) -> str:
    """Let the restore begin; return its id. Raise `RefusedError` for whoever asked for it."""
    _refuse_own(asked)
    if is_expired(asked):
        raise RefusedError("It is older than a day: ask for it anew.")
    restore_id = state.new_id()
    _decide(asked, RestoreRequestState.APPROVED, restore_id=restore_id)
    return restore_id


def reject(asked: RestoreRequest) -> None:
    """Say no; only somebody else than who asked for it does."""
    _refuse_own(asked)
    _decide(asked, RestoreRequestState.REJECTED)


def withdraw(asked: RestoreRequest) -> None:
    """Take it back; only who asked for it does."""
    if _person()[1] != asked.requested_by:
        raise RefusedError("Only who asked for a restore withdraws it; others reject it.")
    _decide(asked, RestoreRequestState.WITHDRAWN)


def is_expired(asked: RestoreRequest) -> bool:
    return asked.requested_at < timezone.now() - LIFETIME


def carry_out(request_id: int) -> None:
    """Restore what was approved, once, in the name of who approved it.

    One that was begun before is left alone, also when it was interrupted: a person resumes it.
    """
    approved = RestoreRequest.objects.filter(pk=request_id, state=RestoreRequestState.APPROVED)
    asked = approved.first()
    if asked is None or has_begun(asked.restore_id):
        return
    decider = Actor(ActorType.USER, asked.decider, asked.decided_by)
    with acting_as(decider, current().request_id, details=_about(asked)):
        if asked.decided_at is None or asked.decided_at < timezone.now() - TAKEN_WITHIN:
            return not_begun(asked, LATE)
        try:
            run.run(asked.backup_id, restore_id=asked.restore_id, asked=_kept(asked))
        except RecoveryError as exc:
            # Once it had begun, the restore itself wrote down why it ended.
            not_begun(asked, str(exc))


def not_begun(asked: RestoreRequest, reason: str) -> None:
    """Write down why an approved restore never began, where its page looks."""
    if has_begun(asked.restore_id):
        return
    failed = state.new(
        asked.database,
        asked.backup_id,
        dbname=asked.database,
        actor=asked.decider,
        restore_id=asked.restore_id,
        asked=_kept(asked),
    )
    failed.at(Step.FAILED, reason=reason[: run.LONGEST_REASON])
    _tell(asked, "failed", failure=reason)


def has_begun(restore_id: str) -> bool:
    try:
        state.load(restore_id)
    except UnknownRestoreError:
        return False
    return True


def _unseen(found: source.Source) -> Plan:
    """Plan where only the worker knows the server."""
    manifest = found.manifest
    server = (
        f"Only the worker knows the server of {manifest.database}, and looks at it before it "
        "begins. `manage.py restore plan`, where the worker runs, says beforehand what it finds."
    )
    loss = f"What was written since {manifest.taken_at:%Y-%m-%d %H:%M:%S} UTC will be missing."
    steps = (
        "the worker makes the plan anew, and stops where something speaks against it",
        f"it restores {manifest.id} beside {manifest.dbname}, which goes on serving, and compares",
        f"it renames both at once, and keeps the old one as {manifest.dbname}_before_...",
    )
    findings = (
        *plan.stored(found),
        plan.Finding("server", Level.WARNING, server),
        plan.Finding("loss", Level.OK, loss),
    )
    return Plan(manifest.database, manifest.id, manifest.taken_at, findings, steps)


def _left_to_worker(planned: Plan, target: Database) -> Plan:
    """Warn in place of refusing, where this process lacks what the worker should have."""
    texts = {}
    if not settings.BACKUP_IDENTITY and KEY in {each.subject for each in planned.findings}:
        # Of a copy that is not there nobody asks for the key: at least one is.
        texts = {KEY: NO_KEY, FILE: ""}
    if target.is_console and not settings.DATABASE_ADMIN_URL:
        texts["rights"] = NO_RIGHTS
    findings = (
        replace(each, level=Level.WARNING, text=texts[each.subject] or each.text)
        if each.level is Level.REFUSAL and each.subject in texts
        else each
        for each in planned.findings
    )
    return replace(planned, findings=tuple(dict.fromkeys(findings)))


def _waiting(name: str) -> RestoreRequest | None:
    return RestoreRequest.objects.filter(
        database=name,
        state=RestoreRequestState.REQUESTED,
        requested_at__gte=timezone.now() - LIFETIME,
    ).first()


def _refuse_own(asked: RestoreRequest) -> None:
    if _person()[1] == asked.requested_by:
        raise RefusedError(FOUR_EYES)


def _decide(asked: RestoreRequest, to: RestoreRequestState, restore_id: str = "") -> None:
    actor, user_id = _person()
    waiting = RestoreRequest.objects.filter(pk=asked.pk, state=RestoreRequestState.REQUESTED)
    with transaction.atomic():
        decided = waiting.update(
            state=to,
            decided_by=user_id,
            decider=actor.name[:200],
            decided_at=Now(),
            restore_id=restore_id,
        )
        if not decided:
            raise RefusedError(DECIDED)
        _tell(asked, to.value, restore=restore_id)


def _person() -> tuple[Actor, int]:
    actor = current().actor()
    if actor.user_id is None or actor.type != ActorType.USER:
        raise RefusedError("Only people ask for a restore and approve it.")
    return actor, actor.user_id


def _kept(asked: RestoreRequest) -> Asked:
    """Return what the state file keeps of a request; its reason redacted as in the audit log."""
    reason = redact_text(asked.reason)[: run.LONGEST_REASON]
    return Asked(asked.pk, asked.requester, asked.decider, reason)


def _about(asked: RestoreRequest) -> dict[str, object]:
    """Return what the restored database's log should say of how it came to it."""
    return {
        "restoreRequest": asked.pk,
        "requestedBy": asked.requester,
        "approvedBy": asked.decider,
        "reason": asked.reason,
    }


def _tell(asked: RestoreRequest, what: str, **details: object) -> None:
    record(
        Action.RESTORE,
        resource=f"/backups/{asked.backup_id}",
        details={
            "restoreRequest": asked.pk,
            "request": what,
            "database": asked.database,
            **details,
        },
    )

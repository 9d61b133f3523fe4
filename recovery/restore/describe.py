"""Restores and plans as JSON and as lines for people."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from recovery.databases import database
from recovery.exceptions import RecoveryError
from recovery.restore import state, swap
from recovery.restore.plan import Plan
from recovery.restore.rows import Changes
from recovery.restore.state import Restore, Step
from recovery.restore.undo import kept

MARKS = {"ok": "ok     ", "warning": "WARNING", "refusal": "REFUSED"}


def plan_json(plan: Plan) -> dict[str, Any]:
    return {
        "id": plan.backup_id,
        "database": plan.database,
        "takenAt": plan.taken_at.isoformat(),
        "exitCode": plan.exit_code,
        "findings": [asdict(finding) for finding in plan.findings],
        "steps": list(plan.steps),
        "rows": rows_json(plan.rows) if plan.rows else None,
    }


def rows_json(rows: Changes) -> dict[str, Any]:
    return {
        "changes": [
            {
                "table": each.table,
                "now": each.now,
                "after": each.after,
                "isEstimate": each.is_estimate,
            }
            for each in rows.largest
        ],
        "more": rows.more,
        "notes": list(rows.notes),
    }


def plan_lines(plan: Plan, title: str = "") -> Iterator[str]:
    yield title or f"Restore of {plan.backup_id} into {plan.database}:"
    for finding in plan.findings:
        yield f"  {MARKS[finding.level]}  {finding.subject}: {finding.text}"
    if plan.rows:
        yield "Rows:"
        yield from (f"  {each.table}: {each.words}" for each in plan.rows.largest)
        yield from (f"  {note}" for note in plan.rows.notes)
    if plan.steps:
        yield "It would:"
        yield from (f"  {number}. {step}" for number, step in enumerate(plan.steps, 1))


def undo_lines(restore: Restore, plan: Plan) -> Iterator[str]:
    return plan_lines(plan, f"Undo of restore {restore.id} of {restore.database}:")


def restore_json(restore: Restore) -> dict[str, Any]:
    return {
        "id": restore.id,
        "database": restore.database,
        "backupId": restore.backup_id,
        "step": str(restore.step),
        "interrupted": is_interrupted(restore),
        "actor": restore.actor,
        "startedAt": restore.started_at,
        "changedAt": restore.changed_at,
        "takenAt": restore.taken_at,
        "keeps": kept_now(restore) or "",
        "reason": restore.reason,
        "notes": list(restore.notes),
        "seconds": restore.seconds,
    }


def restore_lines(restore: Restore) -> Iterator[str]:
    word = "interrupted after " if is_interrupted(restore) else ""
    yield f"{restore.id}  {restore.database}  from {restore.backup_id}  {word}{restore.step}"
    if restore.reason:
        yield f"    {restore.reason}"
    yield from (f"    {note}" for note in restore.notes)
    name = kept_now(restore)
    if name:
        yield f"    keeps {name}; `manage.py restore discard {restore.id}` drops it"
    if name and restore.step is Step.DONE:
        yield f"    `manage.py restore undo {restore.id}` puts the replaced database back"


def is_interrupted(restore: Restore) -> bool:
    return not restore.step.is_end and not state.is_running()


def kept_now(restore: Restore) -> str | None:
    """Return the database that a restore keeps, "" for none, None when the server does not say it."""
    if not restore.step.is_end:
        return ""
    try:
        return kept(restore, swap.numbers(database(restore.database)))
    except RecoveryError:
        return None

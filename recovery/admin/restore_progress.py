"""How far a restore is: from its state file, whatever became of the console's own tables."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_safe

from recovery.admin.pages import for_readers, page
from recovery.databases import CONSOLE
from recovery.models import RestoreRequest
from recovery.restore import describe, requests, state
from recovery.restore.state import Restore, Step, UnknownRestoreError

SOON_SECONDS = 2
# The way of a restore, and what is being done until the step is written down.
WAY = (
    (Step.STARTED, "begun", "being planned once more"),
    (Step.UNPACKED, "unpacked", "being decrypted and unpacked, every byte checked"),
    (Step.LOADED, "loaded", "being loaded into a database beside the live one"),
    (Step.CHECKED, "checked", "being compared with the manifest, row by row"),
    (Step.SWAPPED, "swapped", "its name being swapped with the live database's"),
    (Step.DONE, "done", "being settled"),
)
PLACES = [step for step, _, _ in WAY]


@dataclass(frozen=True)
class Station:
    """A step on the way: `tone` is done, now, halted or ahead."""

    word: str
    tone: str
    seconds: float | None


@for_readers
@require_safe
def progress(request: HttpRequest, restore_id: str) -> HttpResponse:
    """Show how far a restore is; from its state file, whatever became of the console's tables."""
    return page(request, "restore.html", f"Restore {restore_id}", **_progress(restore_id))


@for_readers
@require_safe
def live(request: HttpRequest, restore_id: str) -> HttpResponse:
    """Answer with the part of a restore's page that changes, for its script to put in place."""
    return page(request, "restore_live.html", f"Restore {restore_id}", **_progress(restore_id))


def stations(restore: Restore | None, *, is_interrupted: bool) -> list[Station]:
    """Return the way of a restore: what is behind it, where it is, what is ahead."""
    done = _done(restore)
    is_halted = is_interrupted or (restore is not None and restore.step is Step.FAILED)
    return [
        Station(word, _tone(place, done, is_halted=is_halted), _seconds(restore, step))
        for place, (step, word, _) in enumerate(WAY)
    ]


def _done(restore: Restore | None) -> int:
    """Return how many stations are behind a restore."""
    if restore is None:
        return 0
    if restore.step is Step.FAILED:
        # What has its seconds was done; the last station that has is behind it.
        timed = [place for place, step in enumerate(PLACES) if _seconds(restore, step) is not None]
        return max(timed, default=0) + 1 if restore.live_oid or timed else 0
    if restore.step is Step.SWAPPING:
        return PLACES.index(Step.SWAPPED)
    return PLACES.index(restore.step) + 1 if restore.step in PLACES else len(PLACES)


def _tone(place: int, done: int, *, is_halted: bool) -> str:
    if place < done:
        return "done"
    if place > done:
        return "ahead"
    return "halted" if is_halted else "now"


def _seconds(restore: Restore | None, step: Step) -> float | None:
    if restore is None:
        return None
    return restore.seconds.get("swap" if step is Step.SWAPPED else str(step))


def _progress(restore_id: str) -> dict[str, Any]:
    if not state.ID.fullmatch(restore_id):
        raise UnknownRestoreError("There is no restore with this id.")
    asked = RestoreRequest.objects.filter(restore_id=restore_id).first()
    restore = _loaded(restore_id, is_announced=asked is not None)
    is_interrupted = restore is not None and describe.is_interrupted(restore)
    is_over = restore is not None and (restore.step.is_end or is_interrupted)
    kept = describe.kept_now(restore) if restore else ""
    done = _done(restore)
    is_late = asked is not None and asked.decided_at is not None and _is_late(asked.decided_at)
    return {
        "restore_id": restore_id,
        "restore": restore,
        # A console that was restored has no row of it any more.
        "asked": asked or (restore.asked if restore else None),
        "database": restore.database if restore else asked.database if asked else "",
        "backup_id": restore.backup_id if restore else asked.backup_id if asked else "",
        "way": stations(restore, is_interrupted=is_interrupted),
        "doing": WAY[done][2] if done < len(WAY) else "",
        "is_interrupted": is_interrupted,
        "is_late": restore is None and is_late,
        "is_console": restore is not None and restore.database == CONSOLE,
        "began_at": moment(restore.started_at) if restore else None,
        "changed_at": moment(restore.changed_at) if restore else None,
        "taken_at": moment(restore.taken_at) if restore else None,
        "kept": kept,
        # Where only the worker reaches the server, this page cannot tell that it was discarded.
        "is_undoable": restore is not None and restore.step is Step.DONE and kept != "",
        "refresh": 0 if is_over or (restore is None and is_late) else SOON_SECONDS,
        "mark": f"{restore.step if restore else 'waiting'} {is_interrupted}",
    }


def _loaded(restore_id: str, *, is_announced: bool) -> Restore | None:
    """Return a restore; None for one that was approved and that no worker has begun."""
    try:
        return state.load(restore_id)
    except UnknownRestoreError:
        if not is_announced:
            raise
        return None


def _is_late(decided_at: datetime) -> bool:
    return decided_at < timezone.now() - requests.TAKEN_WITHIN


def moment(text: str) -> datetime | None:
    return datetime.fromisoformat(text) if text else None

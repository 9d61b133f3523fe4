"""Base backups by schedule: each server gets what is due, and loses what nobody needs any more.

What is due follows from what there is, not from the calendar: a night that failed is made up for
in the next one, and a site whose own schedule makes them gets no second one.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import Enum

from django.conf import settings
from django.db import Error
from django.utils import timezone

from compliance_site.foundation.notices.models import Urgency
from compliance_site.foundation.notices.outbox import notify
from recovery.exceptions import BusyError, RecoveryError, RefusedError
from recovery.physical import base_backups, configured
from recovery.physical.builtin import BuiltIn
from recovery.physical.engine import BaseBackup, Engine, Target, TargetKind
from recovery.without_console import without_console

# Less than a week and a day: a run begins at an hour at which the last one may not have ended.
FULL_EVERY = timedelta(days=6, hours=18)
INCREMENTAL_EVERY = timedelta(hours=18)

logger = logging.getLogger(__name__)


class Due(Enum):
    NOTHING = "nothing"
    FULL = "full"
    INCREMENTAL = "incremental"


def run(now: datetime | None = None) -> None:
    """Make what is due and remove what is not needed, on every server that has an archive.

    One that fails keeps none of the others from it.
    """
    now = now or timezone.now()
    for name in configured.servers():
        _back_up(name, now)
        # pgBackRest removes by its own configuration.
        if BuiltIn.name == settings.RECOVERY_ENGINE:
            _prune(name, now)


def due(engine: Engine, now: datetime) -> Due:
    """Say which base backup is to be made: a full one each week, an incremental one each day.

    Where there are no incremental ones, a gap in the log makes a full one due.
    """
    usable = [each for each in engine.backups() if not each.fault]
    if not _has_young((each for each in usable if not each.parent), now, FULL_EVERY):
        return Due.FULL
    if engine.can_increment():
        return Due.NOTHING if _has_young(usable, now, INCREMENTAL_EVERY) else Due.INCREMENTAL
    return Due.NOTHING if _leads_to_the_end(engine) else Due.FULL


def _has_young(backups: Iterable[BaseBackup], now: datetime, age: timedelta) -> bool:
    # Their times are the server's: one from far ahead, made while its clock was wrong, counts not.
    return any(abs(now - each.finished_at) < age for each in backups)


def _leads_to_the_end(engine: Engine) -> bool:
    try:
        engine.plan(Target(TargetKind.LATEST))
    except RefusedError:
        return False
    return True


def _back_up(name: str, now: datetime) -> None:
    try:
        kind = due(configured.engine(name), now)
        if kind is not Due.NOTHING:
            base_backups.create(name, incremental=kind is Due.INCREMENTAL)
    except BusyError as exc:
        logger.warning("No base backup of %s: %s", name, exc)
    except RecoveryError as exc:
        logger.error("No base backup of %s: %s", name, exc)
        with without_console("nobody is told of a base backup that failed."):
            _tell(name, str(exc), now)


def _tell(name: str, reason: str, now: datetime) -> None:
    notify(
        "base_backup.failed",
        key=f"base_backup.failed|{name}|{now:%Y-%m-%d}",
        subject=f"Base backup of {name} failed",
        body=f"The next run tries again.\nReason: {reason}\n"
        "Going back to a moment starts from the last one that there is.",
        urgency=Urgency.URGENT,
    )


def _prune(name: str, now: datetime) -> None:
    try:
        base_backups.prune(name, now)
    except RecoveryError as exc:
        # Nothing is lost by keeping them until tomorrow.
        logger.error("Base backups of %s were not pruned: %s", name, exc)
    except Error as exc:
        logger.error(
            "Base backups of %s were not pruned: the console's database, which takes the entries, "
            "is away (%s).",
            name,
            type(exc).__name__,
        )

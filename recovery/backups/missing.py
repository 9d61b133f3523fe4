"""Backups that are not where they were, though retention did not take them away."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime

from compliance_site.foundation.notices.models import Urgency
from compliance_site.foundation.notices.outbox import notify
from recovery.models import Backup

# Why a store is without a backup that it had.
GONE = "It is not there any more."
NO_FILE = "Its sealed file is not there any more, its manifest is."
NO_MANIFEST = "Its manifest is not there any more, its sealed file is."
TAKEN = (GONE, NO_FILE, NO_MANIFEST)
REMOVED = "Retention removed it."
MOST_NAMED = 20


def lacking(backup: Backup, places: Collection[str]) -> dict[str, str]:
    """Return those of the places that should have a backup and have it not, and why."""
    return {
        name: reason
        for name, reason in backup.copies.items()
        if name in places and reason not in ("", REMOVED)
    }


def is_lost(lacking: Mapping[str, str]) -> bool:
    """Tell whether one of the places without a backup had it."""
    return any(reason in TAKEN for reason in lacking.values())


def tell(database: str, gone: Sequence[Backup]) -> None:
    """Tell people at once of backups that were there at the last look."""
    lines = [f"{backup.pk}: {reasons(backup)}" for backup in gone[:MOST_NAMED]]
    if len(gone) > MOST_NAMED:
        lines.append(f"and {len(gone) - MOST_NAMED} more; `manage.py backup list` shows all")
    what = "A backup" if len(gone) == 1 else f"{len(gone)} backups"
    notify(
        "backup.missing",
        # One that came back may go again.
        key=f"backup.missing|{gone[0].pk}|{datetime.now(UTC).isoformat()}",
        subject=f"{what} of {database} cannot be found any more",
        body="Retention did not remove them: somebody or something else did.\n" + "\n".join(lines),
        urgency=Urgency.URGENT,
    )


def reasons(backup: Backup) -> str:
    """Say for each store why it is without the backup."""
    return in_words({store: reason for store, reason in backup.copies.items() if reason})


def in_words(reasons: Mapping[str, str]) -> str:
    """Return reasons by store as a sentence each; that of a store itself names it already."""
    return " ".join(
        reason if reason.startswith(store) else f"{store}: {reason}"
        for store, reason in reasons.items()
    )

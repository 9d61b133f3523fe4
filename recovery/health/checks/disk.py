from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from django.conf import settings

from compliance_site.foundation.paths import VAR_DIR
from recovery.health.results import Degraded, Figures, Status, Unhealthy

GIB = 2**30


@dataclass(frozen=True)
class Disk:
    """There is room where the console writes: its own files, a restore's, and local backups.

    A share of the disk, and on a large one an amount: a tenth of many terabytes is not little.
    """

    name: ClassVar[str] = "disk"
    when_silent: ClassVar[Status] = Status.DEGRADED

    def run(self, deadline: float) -> Figures:
        usages = [shutil.disk_usage(folder) for folder in set(_folders())]
        figures: Figures = {
            "free_percent": round(min(100 * usage.free / usage.total for usage in usages), 1),
            "free_bytes": min(usage.free for usage in usages),
        }
        if any(usage.free < min(usage.total * 0.02, GIB) for usage in usages):
            raise Unhealthy("A disk that the console writes to is full.", figures)
        if any(usage.free < min(usage.total * 0.10, 10 * GIB) for usage in usages):
            raise Degraded("A disk that the console writes to is nearly full.", figures)
        return figures


def _folders() -> Iterator[Path]:
    ours = (VAR_DIR, settings.RECOVERY_FOLDER, settings.AUDIT_SPOOL.parent)
    stores = [Path(place) for place in settings.BACKUP_STORAGE_PATH if "://" not in place]
    for place in (*ours, *stores):
        folder = place.absolute()
        # What is not made yet will be made on the disk of what is.
        yield next(each for each in (folder, *folder.parents) if each.exists())

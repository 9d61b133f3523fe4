from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import psutil

from compliance_site.foundation.paths import VAR_DIR
from recovery.health.results import Figures, Status

# How long the processors are watched.
WATCHED_SECONDS = 0.1


@dataclass(frozen=True)
class Machine:
    """Percentages of this machine: processors, memory, and the disk of the console's own files."""

    name: ClassVar[str] = "machine"
    when_silent: ClassVar[Status] = Status.UNHEALTHY

    def run(self, deadline: float) -> Figures:
        return {
            "cpu_usage": psutil.cpu_percent(interval=WATCHED_SECONDS),
            "memory_usage": psutil.virtual_memory().percent,
            "disk_usage": psutil.disk_usage(str(VAR_DIR)).percent,
        }

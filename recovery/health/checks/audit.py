from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from django.conf import settings

from audit.capture import spool
from recovery.health.results import Degraded, Figures, Status, Unhealthy

# Of AUDIT_SPOOL_MB; not all, for the next entry may be larger than the rest.
FULL = 0.98


@dataclass(frozen=True)
class Audit:
    """No entries wait on this machine's disk because the database did not take them."""

    name: ClassVar[str] = "audit"
    when_silent: ClassVar[Status] = Status.UNHEALTHY

    def run(self, deadline: float) -> Figures:
        sizes = spool.sizes(settings.AUDIT_SPOOL)
        figures: Figures = {"spooled_bytes": sizes.waiting, "set_aside_bytes": sizes.set_aside}
        if sizes.largest >= FULL * settings.AUDIT_SPOOL_MB * 2**20:
            raise Unhealthy("The spool is full: what cannot be recorded is refused.", figures)
        if sizes.waiting:
            raise Degraded("Entries wait on disk until the database takes them.", figures)
        if sizes.set_aside:
            raise Degraded("Entries that cannot be stored were set aside for a person.", figures)
        return figures

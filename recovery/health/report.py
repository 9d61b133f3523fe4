"""All parts at once: each answers or is given up within the same second."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.conf import settings

from recovery.health.checks.audit import Audit
from recovery.health.checks.backup import Backup
from recovery.health.checks.celery import Celery
from recovery.health.checks.database import Database
from recovery.health.checks.disk import Disk
from recovery.health.checks.machine import Machine
from recovery.health.checks.redis import Redis
from recovery.health.probes import Flight, Probe, waited
from recovery.health.results import NO_FIGURES, Figures, Result, Status

DATABASE = Probe(Database())
REDIS = Probe(Redis())
MACHINE = Probe(Machine())
# What moves by the hour is not asked every other second.
BACKUP = Probe(Backup(), fresh_seconds=10.0, behind=DATABASE)
ALWAYS = (
    DATABASE,
    REDIS,
    Probe(Celery(), behind=REDIS),
    Probe(Disk(), fresh_seconds=10.0),
    Probe(Audit()),
)


@dataclass(frozen=True)
class Report:
    """What was said of the parts that were asked, and of the machine when it was."""

    results: tuple[Result, ...]
    machine: Figures

    @property
    def status(self) -> Status:
        return Status.worst(result.status for result in self.results)


def components() -> tuple[Probe, ...]:
    """Return the parts that there are; backups that are switched off are none."""
    return (*ALWAYS, BACKUP) if settings.ENABLE_AUTOMATED_BACKUPS else ALWAYS


@dataclass(frozen=True)
class Asked:
    """Parts that were asked, all at the same time, and have answered or not yet."""

    answers: tuple[Result | Flight, ...]
    machine: Result | Flight | None

    def report(self) -> Report:
        """Wait for the answers: for all of them together `probes.DEADLINE_SECONDS` at most.

        None is asked anew, also when its answer grows old meanwhile: that would double the wait.
        """
        results = tuple(waited(answer) for answer in self.answers)
        return Report(results, waited(self.machine).figures if self.machine else NO_FIGURES)


def ask(probes: Sequence[Probe], *, machine: bool = False) -> Asked:
    """Begin to ask the parts, and wait for none."""
    return Asked(tuple(probe.ask() for probe in probes), MACHINE.ask() if machine else None)


def report(probes: Sequence[Probe], *, machine: bool = False) -> Report:
    return ask(probes, machine=machine).report()


def forget() -> None:
    """Let the next caller ask every part anew."""
    for probe in (*ALWAYS, BACKUP, MACHINE):
        probe.forget()

"""Health by the minute: kept in the database, drawn as strips of a day."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby

from django.utils import timezone

from recovery.health.report import DATABASE, components, report
from recovery.health.results import Status
from recovery.models import HealthSample

KEPT = timedelta(days=8)
DAY = timedelta(days=1)
SLOT = timedelta(minutes=5)
SLOTS = DAY // SLOT


def sample() -> int:
    """Keep one sample of each part and drop the old ones; return how many were kept.

    None while the database does not answer: the gap says so, and no worker is held up.
    """
    found = report(components())
    if any(
        each.component == DATABASE.check.name and is_down(each.status) for each in found.results
    ):
        return 0
    kept = HealthSample.objects.bulk_create(
        HealthSample(
            component=result.component, status=result.status, response_ms=result.response_ms
        )
        for result in found.results
    )
    HealthSample.objects.filter(taken_at__lt=timezone.now() - KEPT).delete()
    return len(kept)


def is_down(status: str) -> bool:
    return status == Status.UNHEALTHY


@dataclass(frozen=True)
class Stretch:
    """A time in which a part stood the same; `status` is "" where nothing is known."""

    status: str
    start: datetime
    slots: int
    # Where it begins, in slots from the strip's start.
    offset: int

    @property
    def end(self) -> datetime:
        return self.start + self.slots * SLOT

    @property
    def is_trouble(self) -> bool:
        return self.status in (Status.DEGRADED, Status.UNHEALTHY)


@dataclass(frozen=True)
class Strip:
    """The last day of one part, in slots of five minutes; each shows its worst minute."""

    component: str
    stretches: tuple[Stretch, ...]
    sampled: int
    down: int

    @property
    def availability(self) -> float | None:
        """Return the share of the sampled minutes in which it did its work; None without any.

        Rounded down: 100 is said only of a day without a bad minute.
        """
        if not self.sampled:
            return None
        return (self.sampled - self.down) * 10_000 // self.sampled / 100

    @property
    def troubles(self) -> list[Stretch]:
        """Return what was not healthy, the latest first."""
        return [stretch for stretch in reversed(self.stretches) if stretch.is_trouble]

    @property
    def unknown(self) -> timedelta:
        return SLOT * sum(stretch.slots for stretch in self.stretches if not stretch.status)


def strips(names: Iterable[str], now: datetime | None = None) -> list[Strip]:
    """Return the last 24 hours of these parts."""
    end = _slot_end(now or timezone.now())
    start = end - DAY
    samples: dict[str, list[tuple[datetime, str]]] = {name: [] for name in names}
    rows = HealthSample.objects.filter(
        component__in=list(samples), taken_at__gte=start, taken_at__lt=end
    )
    for name, taken_at, status in rows.values_list("component", "taken_at", "status"):
        samples[name].append((taken_at, status))
    return [_strip(name, taken, start) for name, taken in samples.items()]


def common_gap(drawn: Iterable[Strip]) -> timedelta | None:
    """Return the time of which nothing is known, when it is the same for every part."""
    gaps = {strip.unknown for strip in drawn}
    return gaps.pop() if len(gaps) == 1 else None


def _slot_end(moment: datetime) -> datetime:
    """Return the end of the slot that a moment is in."""
    midnight = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight + ((moment - midnight) // SLOT + 1) * SLOT


def _strip(name: str, samples: list[tuple[datetime, str]], start: datetime) -> Strip:
    worst = [""] * SLOTS
    severity = ["", *Status]
    for taken_at, status in samples:
        slot = (taken_at - start) // SLOT
        worst[slot] = max(worst[slot], status, key=severity.index)
    return Strip(
        component=name,
        stretches=tuple(_stretches(worst, start)),
        sampled=len(samples),
        down=sum(is_down(status) for _, status in samples),
    )


def _stretches(statuses: list[str], start: datetime) -> Iterator[Stretch]:
    offset = 0
    for status, run in groupby(statuses):
        slots = len(list(run))
        yield Stretch(status, start + offset * SLOT, slots, offset)
        offset += slots

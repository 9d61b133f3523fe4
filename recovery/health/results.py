"""What a check finds out, and what is said of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import ClassVar, Protocol

Figures = Mapping[str, float | None]
NO_FIGURES: Figures = MappingProxyType({})


class Status(StrEnum):
    """How a part stands; `degraded` still does its work and needs somebody."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"

    @classmethod
    def worst(cls, statuses: Iterable[Status]) -> Status:
        return max(statuses, key=list(cls).index, default=cls.HEALTHY)


class Finding(Exception):  # noqa: N818 - found out, and no error of ours
    """A check found something; the sentence names no host, version or text of a library."""

    status = Status.UNHEALTHY

    def __init__(self, reason: str, figures: Figures = NO_FIGURES) -> None:
        super().__init__(reason)
        self.reason = reason
        self.figures = figures


class Unhealthy(Finding):
    """It does not do its work."""


class Degraded(Finding):
    """It does its work and needs somebody."""

    status = Status.DEGRADED


class Check(Protocol):
    """One part of the console, by the name it has in answers."""

    name: ClassVar[str]
    # What it is said to be when it does not answer.
    when_silent: ClassVar[Status]

    def run(self, deadline: float) -> Figures:
        """Return what was measured; raise a `Finding` when not all is well.

        It gives up by itself when `time.monotonic()` reaches the deadline.
        """
        ...


@dataclass(frozen=True)
class Result:
    """What a check said; `response_ms` is None when it did not answer."""

    component: str
    status: Status
    taken_at: datetime
    response_ms: int | None = None
    reason: str = ""
    figures: Figures = field(default=NO_FIGURES)

    @property
    def is_silent(self) -> bool:
        return self.response_ms is None

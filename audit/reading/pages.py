"""Page through the log while it grows: every page of a listing has the same upper bound."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import ceil

from audit.models import AuditLog, AuditLogQuerySet


@dataclass(frozen=True)
class LogPage:
    """One page of a listing; `as_of` is the newest entry that the whole listing may show."""

    matching: AuditLogQuerySet
    page: int
    limit: int
    as_of: int

    @property
    def rows(self) -> AuditLogQuerySet:
        first = (self.page - 1) * self.limit
        return self.matching[first : first + self.limit]

    @cached_property
    def logs(self) -> list[AuditLog]:
        return list(self.rows)

    @cached_property
    def total(self) -> int:
        return self.matching.count()

    @property
    def pages(self) -> int:
        return ceil(self.total / self.limit)


def page_of(logs: AuditLogQuerySet, *, page: int, limit: int, as_of: int | None = None) -> LogPage:
    """Cut one page; without `as_of` the listing starts now."""
    bounded, as_of = up_to(logs, as_of)
    return LogPage(bounded, page, limit, as_of)


def up_to(logs: AuditLogQuerySet, as_of: int | None = None) -> tuple[AuditLogQuerySet, int]:
    """Bound the entries by `as_of`, or by the newest one there is, and return that bound."""
    if as_of is None:
        as_of = AuditLog.objects.all().newest_id()
    return logs.filter(id__lte=as_of), as_of

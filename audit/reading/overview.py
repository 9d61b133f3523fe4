"""The log's last 24 hours in a few figures, for the first page that a reader sees."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, Max, Min, Q
from django.db.models.functions import TruncHour
from django.utils import timezone

from audit.models import Action, ActorType, AuditLog, AuditLogQuerySet

HOURS = 24
LONGEST_LIST = 6
DAY = timedelta(hours=24)


@dataclass(frozen=True)
class Hour:
    start: datetime
    entries: int = 0
    failed_sign_ins: int = 0
    people: int = 0


@dataclass(frozen=True)
class Endpoint:
    """A method and a route; `resource` is "" when the route stands for many addresses."""

    method: str
    route: str
    resource: str
    entries: int


@dataclass(frozen=True)
class Person:
    """A user of one source: the console and the platform each number their own users."""

    source: str
    user_id: int
    name: str
    entries: int
    last_seen_at: datetime


@dataclass(frozen=True)
class Overview:
    """All times are UTC; today begins at midnight, the other figures cover 24 hours."""

    now: datetime
    newest: AuditLog | None
    hours: tuple[Hour, ...]
    failed_sign_ins: int
    last_failed_sign_in: AuditLog | None
    people_today: int
    people: tuple[Person, ...]
    endpoints: tuple[Endpoint, ...]

    @property
    def entries_today(self) -> int:
        midnight = midnight_of(self.now)
        return sum(hour.entries for hour in self.hours if hour.start >= midnight)

    @property
    def is_quiet(self) -> bool:
        """Tell whether nothing was recorded for an hour, which a console in use never shows."""
        return self.newest is not None and self.now - self.newest.created_at > timedelta(hours=1)


def overview(now: datetime | None = None) -> Overview:
    """Count the last 24 hours; each query starts from an index that ends in the time."""
    now = now or timezone.now()
    recent = AuditLog.objects.filter(created_at__gt=now - DAY, created_at__lte=now)
    failures = recent.filter(action=Action.LOGIN_FAILED)
    people = recent.filter(created_at__gte=midnight_of(now), actor_type=ActorType.USER, user_id__isnull=False)
    return Overview(
        now=now,
        newest=AuditLog.objects.filter(created_at__lte=now).first(),
        hours=_hours(now),
        failed_sign_ins=failures.count(),
        last_failed_sign_in=failures.first(),
        people_today=people.order_by().values("source", "user_id").distinct().count(),
        people=_people(people),
        endpoints=_endpoints(recent),
    )


def midnight_of(moment: datetime) -> datetime:
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)


def _hours(now: datetime) -> tuple[Hour, ...]:
    """Count each clock hour, up to the one that has begun; an hour without entries is there too."""
    last = now.replace(minute=0, second=0, microsecond=0)
    starts = [last - timedelta(hours=ago) for ago in reversed(range(HOURS))]
    rows = (
        AuditLog.objects.filter(created_at__gte=starts[0], created_at__lte=now)
        .order_by()
        .annotate(hour=TruncHour("created_at"))
        .values_list("hour")
        .annotate(
            entries=Count("id"),
            failed_sign_ins=Count("id", filter=Q(action=Action.LOGIN_FAILED)),
            people=Count("user_id", filter=Q(actor_type=ActorType.USER), distinct=True),
        )
    )
    counted = {row[0]: Hour(*row) for row in rows}
    return tuple(counted.get(start, Hour(start)) for start in starts)


def _people(logs: AuditLogQuerySet) -> tuple[Person, ...]:
    rows = (
        logs.order_by()
        .values_list("source", "user_id")
        .annotate(name=Max("actor"), entries=Count("id"), last=Max("created_at"))
        .order_by("-last")[:LONGEST_LIST]
    )
    return tuple(Person(*row) for row in rows)


def _endpoints(logs: AuditLogQuerySet) -> tuple[Endpoint, ...]:
    rows = (
        logs.exclude(method="")
        .order_by()
        .values_list("method", "route")
        .annotate(entries=Count("id"), first=Min("resource"), last=Max("resource"))
        .order_by("-entries", "route")[:LONGEST_LIST]
    )
    return tuple(
        Endpoint(method, route or first, first if first == last else "", entries)
        for method, route, entries, first, last in rows
    )

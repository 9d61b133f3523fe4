"""The log's last 24 hours in a few figures, for the first page that a reader sees."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Case, Count, DateTimeField, F, Func, Max, Min, Q, Value, When
from django.utils import timezone

from audit.models import Action, ActorType, AuditLog, AuditLogQuerySet

HOUR = timedelta(hours=1)
DAY = timedelta(hours=24)
LONGEST_LIST = 6


@dataclass(frozen=True)
class Hour:
    """One of the 24 hours before `Overview.now`; `today` counts what came after midnight UTC."""

    start: datetime
    entries: int = 0
    today: int = 0
    failed_sign_ins: int = 0
    failed_requests: int = 0
    server_errors: int = 0


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
    """People are those active since midnight UTC, the other figures cover 24 hours."""

    now: datetime
    newest: AuditLog | None
    hours: tuple[Hour, ...]
    last_failed_sign_in: AuditLog | None
    people_today: int
    people: tuple[Person, ...]
    endpoints: tuple[Endpoint, ...]

    @property
    def entries_today(self) -> int:
        return sum(hour.today for hour in self.hours)

    @property
    def failed_sign_ins(self) -> int:
        return sum(hour.failed_sign_ins for hour in self.hours)

    @property
    def failed_requests(self) -> int:
        return sum(hour.failed_requests for hour in self.hours)

    @property
    def server_errors(self) -> int:
        return sum(hour.server_errors for hour in self.hours)

    @property
    def is_quiet(self) -> bool:
        """Tell whether nothing was recorded for an hour, which a console in use never shows."""
        return self.newest is not None and self.now - self.newest.created_at > HOUR


def overview(now: datetime | None = None) -> Overview:
    """Count the last 24 hours; nothing older is read, however large the log is."""
    now = now or timezone.now()
    recent = AuditLog.objects.filter(created_at__gt=now - DAY, created_at__lte=now)
    people = recent.filter(
        created_at__gte=midnight_of(now), actor_type=ActorType.USER, user_id__isnull=False
    )
    return Overview(
        now=now,
        newest=AuditLog.objects.filter(created_at__lte=now).first(),
        hours=_hours(recent, now),
        last_failed_sign_in=recent.filter(action=Action.LOGIN_FAILED).first(),
        people_today=people.order_by().values("source", "user_id").distinct().count(),
        people=_people(people),
        endpoints=_endpoints(recent),
    )


def midnight_of(moment: datetime) -> datetime:
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)


def _hours(logs: AuditLogQuerySet, now: datetime) -> tuple[Hour, ...]:
    """Count each hour back from now in one pass; an hour without entries is there too."""
    # Bins are closed at their start, and an entry of this very moment belongs to the last one.
    end = now + timedelta(microseconds=1)
    start_of_bin = Func(
        Value(HOUR), "created_at", Value(end), function="date_bin", output_field=DateTimeField()
    )
    rows = (
        logs.order_by()
        .annotate(start=start_of_bin)
        .values_list("start")
        .annotate(
            entries=Count("id"),
            today=Count("id", filter=Q(created_at__gte=midnight_of(now))),
            failed_sign_ins=Count("id", filter=Q(action=Action.LOGIN_FAILED)),
            failed_requests=Count("id", filter=Q(status_code__gte=400, status_code__lt=600)),
            server_errors=Count("id", filter=Q(status_code__gte=500, status_code__lt=600)),
        )
    )
    counted = {row[0]: Hour(*row) for row in rows}
    starts = [end - hours * HOUR for hours in range(DAY // HOUR, 0, -1)]
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
        .annotate(endpoint=Case(When(route="", then=F("resource")), default=F("route")))
        .values_list("method", "endpoint")
        .annotate(entries=Count("id"), first=Min("resource"), last=Max("resource"))
        .order_by("-entries", "endpoint")[:LONGEST_LIST]
    )
    return tuple(
        Endpoint(method, route, first if first == last else "", entries)
        for method, route, entries, first, last in rows
    )

"""The grace dashboard: which old values still work, until when, and who holds that up."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_safe

from compliance_site.foundation.admin_pages import for_readers
from secrets_rotation.admin.pages import page
from secrets_rotation.admin.secret import ConsumerRow, consumer_rows
from secrets_rotation.models import DeliveryState, Run, RunState


@dataclass(frozen=True)
class Grace:
    """One old value that still works; `share` of its grace has passed, in percent."""

    run: Run
    consumers: tuple[ConsumerRow, ...]
    share: int
    is_over: bool

    @property
    def acknowledged(self) -> int:
        return sum(row.acknowledgement is not None for row in self.consumers)

    @property
    def missing(self) -> list[ConsumerRow]:
        return [row for row in self.consumers if row.acknowledgement is None]

    @property
    def failing(self) -> list[ConsumerRow]:
        """Return those to whom the last delivery failed."""
        return [row for row in self.consumers if is_failing(row)]


def is_failing(row: ConsumerRow) -> bool:
    delivery = row.delivery
    return bool(delivery and delivery.state == DeliveryState.WAITING and delivery.error)


@for_readers
@require_safe
def dashboard(request: HttpRequest) -> HttpResponse:
    """Show each grace, the one that ends soonest first."""
    now = timezone.now()
    runs = Run.objects.filter(state__in=(RunState.GRACE, RunState.REVOKING))
    runs = runs.select_related("secret", "version", "previous").order_by("grace_until", "pk")
    graces = [_grace(run, now) for run in runs]
    waits = sum(bool(grace.missing) for grace in graces)
    return page(request, "grace.html", "Grace periods", graces=graces, waits=waits)


def _grace(run: Run, now: datetime) -> Grace:
    rows = tuple(consumer_rows(run.secret, run.version))
    return Grace(run, rows, _share(run, now), run.state == RunState.REVOKING)


def _share(run: Run, now: datetime) -> int:
    if run.grace_until is None or run.state == RunState.REVOKING or not run.grace:
        return 100
    left = (run.grace_until - now) / run.grace
    return round(100 * min(1.0, max(0.0, 1 - left)))

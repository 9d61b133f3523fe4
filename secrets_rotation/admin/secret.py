"""One secret: its facts, versions, runs and consumers. No value, no fingerprint."""

from __future__ import annotations

from dataclasses import dataclass

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_safe

from compliance_site.foundation.admin_pages import for_readers
from secrets_rotation.admin.pages import page
from secrets_rotation.admin.target_form import described
from secrets_rotation.models import (
    IN_FLIGHT,
    Acknowledgement,
    Consumer,
    Delivery,
    Secret,
    Version,
    VersionState,
)
from secrets_rotation.policies.rules import rules_in_force
from secrets_rotation.reading import schedule
from secrets_rotation.rotators.registry import ROTATORS

LONGEST_HISTORY = 20


@dataclass(frozen=True)
class ConsumerRow:
    """A consumer and what became of the current version there."""

    consumer: Consumer
    delivery: Delivery | None
    acknowledgement: Acknowledgement | None


@for_readers
@require_safe
def detail(request: HttpRequest, id: int) -> HttpResponse:
    """Show one secret, retired ones too."""
    secrets = Secret.objects.select_related("policy", "override", "target_credential")
    secret = get_object_or_404(secrets, pk=id)
    (scheduled,) = schedule(Secret.objects.filter(pk=id))
    kind = ROTATORS.get(secret.rotator)
    current = secret.versions.filter(state=VersionState.CURRENT).first()
    return page(
        request,
        "secret.html",
        str(secret),
        secret=secret,
        row=scheduled,
        rules=rules_in_force(secret),
        has_override=hasattr(secret, "override"),
        has_secret_settings=hasattr(secret, "target_credential"),
        rotator=described(kind) if kind else None,
        current=current,
        versions=secret.versions.defer("fingerprint")[:LONGEST_HISTORY],
        runs=secret.runs.select_related("version")[:LONGEST_HISTORY],
        in_flight=secret.runs.filter(state__in=IN_FLIGHT).first(),
        consumers=consumer_rows(secret, current),
        depends_on=secret.depends_on.all(),
    )


def consumer_rows(secret: Secret, version: Version | None) -> list[ConsumerRow]:
    """Return the living consumers with what became of a version there."""
    consumers = list(secret.consumers.filter(retired_at=None).select_related("service_account"))
    deliveries = Delivery.objects.filter(version=version, consumer__in=consumers)
    acknowledged = Acknowledgement.objects.filter(version=version, consumer__in=consumers)
    delivery_of = {delivery.consumer_id: delivery for delivery in deliveries}
    acknowledgement_of = {each.consumer_id: each for each in acknowledged}
    return [
        ConsumerRow(each, delivery_of.get(each.pk), acknowledgement_of.get(each.pk))
        for each in consumers
    ]

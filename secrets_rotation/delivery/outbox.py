"""The outbox: each new version, on its way to each consumer until it has arrived.

Rows are written in the transaction that makes a version current, and worked off by whichever
worker comes first: claimed under a lease by the database's clock, delivered outside any
transaction, marked. Killed in between, the version is delivered again, which destinations make
the same as once.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from celery import current_app
from django.db import transaction
from django.db.models import Count, F, Q, QuerySet
from django.db.models.functions import Now

from audit.capture.recording import record
from audit.models import Action
from compliance_site.foundation.master_key import EnvelopeError
from secrets_rotation import notices
from secrets_rotation.delivery import registry
from secrets_rotation.delivery.destinations.base import DEADLINE, Earlier, Parcel
from secrets_rotation.exceptions import DeliveryError
from secrets_rotation.models import (
    IN_FLIGHT,
    Consumer,
    Delivery,
    DeliveryState,
    Run,
    Secret,
    Version,
    VersionState,
    VersionValue,
)
from secrets_rotation.unforeseen import texts_withheld

# A delivery whose worker was killed is taken up again after this.
LEASE = timedelta(seconds=6 * DEADLINE)
SHORTEST_WAIT, LONGEST_WAIT = timedelta(seconds=5), timedelta(minutes=15)
# The first failure is an audit event, and then each tenth.
AUDITED_EACH = 10
# The first failures may be a restart. From this one on people are told, once for each reason.
TOLD_FROM = 4
LONGEST_ERROR = 500


@dataclass(frozen=True)
class DeliverySummary:
    """How far a version has come: `failing` are those of `waiting` that failed last time."""

    waiting: int
    delivered: int
    failing: int


@dataclass(frozen=True)
class Claim:
    """A delivery under a lease. `attempt` tells it from a later claim of the same one."""

    delivery: Delivery
    attempt: int


def enqueue(version: Version) -> None:
    """Put a version that becomes current on its way to each consumer.

    Inside the caller's transaction; older versions that still wait are superseded. Again
    is the same as once.
    """
    # Nobody registers a consumer at this moment who would then get neither version.
    secret = locked_secret(version.secret_id)
    older = Delivery.objects.filter(consumer__secret=secret, version__number__lt=version.number)
    supersede(older)
    consumers = Consumer.objects.filter(secret=secret, retired_at=None)
    _send_later(version, consumers)


def enqueue_for(consumer: Consumer) -> None:
    """Put the current version on its way to one consumer, again if it was delivered before.

    Inside the caller's transaction.
    """
    secret = locked_secret(consumer.secret_id)
    version = Version.objects.filter(secret=secret, state=VersionState.CURRENT).first()
    if version:
        consumer.deliveries.filter(version=version).update(
            state=DeliveryState.WAITING,
            delivered_at=None,
            error="",
            leased_until=None,
            next_attempt_at=Now(),
            # What is under way meanwhile goes to the old place and must not be marked.
            attempts=F("attempts") + 1,
        )
        _send_later(version, [consumer])


def supersede(deliveries: QuerySet[Delivery]) -> None:
    """Give up those of the deliveries that still wait."""
    deliveries.filter(state=DeliveryState.WAITING).update(
        state=DeliveryState.SUPERSEDED, leased_until=None
    )


def locked_secret(secret_id: int) -> Secret:
    return Secret.objects.select_for_update(no_key=True).get(pk=secret_id)


def state_of(version: Version) -> DeliverySummary:
    """Return how many consumers the version has reached."""
    waiting = Q(state=DeliveryState.WAITING)
    counts = version.deliveries.aggregate(
        waiting=Count("pk", filter=waiting),
        delivered=Count("pk", filter=Q(state=DeliveryState.DELIVERED)),
        failing=Count("pk", filter=waiting & ~Q(error="")),
    )
    return DeliverySummary(**counts)


def waiting_for(version: Version) -> list[str]:
    """Return the names of the consumers that the version has not reached."""
    waiting = version.deliveries.filter(state=DeliveryState.WAITING)
    return list(waiting.order_by("consumer__name").values_list("consumer__name", flat=True))


def deliver_due(seconds: float = 50) -> int:
    """Deliver what is due, the longest waiting first; return how many were tried.

    None is begun after so many seconds, so that a tick a minute does not pile up.
    """
    deadline, tried = time.monotonic() + seconds, 0
    due = Delivery.objects.filter(next_attempt_at__lte=Now())
    while time.monotonic() < deadline and (claim := _claim(due)):
        _attempt(claim)
        tried += 1
    return tried


def deliver(delivery_id: int) -> bool:
    """Deliver one now, due or not; return whether it has arrived.

    False as well when another worker is at it, and when there is nothing to deliver any more.
    """
    claim = _claim(Delivery.objects.filter(pk=delivery_id))
    return claim is not None and _attempt(claim)


def wake_run(version: Version) -> None:
    """Tell the version's run, once this transaction is committed, to look at its consumers."""
    transaction.on_commit(lambda: _wake(version.pk), robust=True)


def _send_later(version: Version, consumers: QuerySet[Consumer] | Sequence[Consumer]) -> None:
    rows = [Delivery(consumer=consumer, version=version) for consumer in consumers]
    Delivery.objects.bulk_create(rows, ignore_conflicts=True)
    if rows:
        transaction.on_commit(_send_task, robust=True)


def _send_task() -> None:
    """Have what is due delivered; a message that is lost is made up for by the next tick."""
    current_app.send_task("secrets_rotation.deliver_due")


@transaction.atomic(durable=True)
def _claim(deliveries: QuerySet[Delivery]) -> Claim | None:
    delivery = (
        deliveries.filter(Q(leased_until=None) | Q(leased_until__lt=Now()))
        .filter(state=DeliveryState.WAITING)
        .select_related("consumer", "version__secret")
        .order_by("next_attempt_at", "pk")
        .select_for_update(skip_locked=True, of=("self",))
        .first()
    )
    if delivery is None:
        return None
    attempt = delivery.attempts + 1
    # Moved on at once: one that kills its worker must not be the first in line again.
    Delivery.objects.filter(pk=delivery.pk).update(
        attempts=attempt,
        leased_until=Now() + LEASE,
        next_attempt_at=Now() + LEASE + _wait(attempt),
    )
    return Claim(delivery, attempt)


def _attempt(claim: Claim) -> bool:
    """Deliver and mark; return whether it has arrived."""
    try:
        _bring(claim.delivery)
    except DeliveryError as exc:
        return _mark_failed(claim, exc.reason)
    except (EnvelopeError, registry.UnknownDestinationError) as exc:
        return _mark_failed(claim, str(exc))
    return _mark_delivered(claim)


def _bring(delivery: Delivery) -> None:
    destination = registry.destination_of(delivery.consumer)
    parcel = _parcel(delivery.version, keeps_earlier=destination.keeps_earlier)
    with texts_withheld():
        destination.deliver(parcel)


def _parcel(version: Version, *, keeps_earlier: bool) -> Parcel:
    """Unseal a version for one delivery; raise `DeliveryError` when its value is gone."""
    value = VersionValue.objects.select_related("version").filter(version=version).first()
    if value is None:
        raise DeliveryError(f"Version {version.number} has no value any more.")
    return Parcel(
        version.secret.secret_type,
        version.secret.name,
        version.number,
        version.pk,
        version.username,
        value.unseal(),
        _earlier(version) if keeps_earlier else None,
    )


def _earlier(version: Version) -> Earlier | None:
    value = (
        VersionValue.objects.select_related("version")
        .filter(version__secret=version.secret_id, version__state=VersionState.PREVIOUS)
        .first()
    )
    if value is None:
        return None
    return Earlier(value.version.number, value.version.username, value.unseal())


@transaction.atomic(durable=True)
def _mark_delivered(claim: Claim) -> bool:
    """Mark, unless another version or another worker has taken over meanwhile."""
    marked = _claimed(claim).update(
        state=DeliveryState.DELIVERED, delivered_at=Now(), leased_until=None, error=""
    )
    if marked:
        _record(Action.DELIVER, claim)
        wake_run(claim.delivery.version)
    return bool(marked)


@transaction.atomic(durable=True)
def _mark_failed(claim: Claim, reason: str) -> bool:
    reason = reason[:LONGEST_ERROR]
    marked = _claimed(claim).update(
        error=reason, leased_until=None, next_attempt_at=Now() + _wait(claim.attempt)
    )
    is_first = not claim.delivery.error
    if marked and (is_first or claim.attempt % AUDITED_EACH == 0):
        _record(Action.DELIVERY_FAILED, claim, reason=reason)
    if marked and claim.attempt >= TOLD_FROM:
        claim.delivery.error, claim.delivery.attempts = reason, claim.attempt
        notices.delivery_failing(claim.delivery)
    return False


def _claimed(claim: Claim) -> QuerySet[Delivery]:
    return Delivery.objects.filter(
        pk=claim.delivery.pk, state=DeliveryState.WAITING, attempts=claim.attempt
    )


def _record(action: str, claim: Claim, **details: object) -> None:
    consumer, version = claim.delivery.consumer, claim.delivery.version
    record(
        action,
        resource=f"/secrets/{consumer.secret_id}/consumers/{consumer.pk}",
        details={
            "consumer": consumer.name,
            "delivery": consumer.delivery,
            "version": version.number,
            "attempt": claim.attempt,
            **details,
        },
    )


def _wait(attempt: int) -> timedelta:
    """Return how long to wait after this attempt: doubling, bounded, never all at once."""
    longest: timedelta = min(SHORTEST_WAIT * 2 ** min(attempt - 1, 20), LONGEST_WAIT)
    return longest * random.uniform(0.5, 1)  # noqa: S311  spreads load, guards nothing


def _wake(version_id: int) -> None:
    """Send the run on its way unless something still waits.

    Asked after the commit: of two workers with the last two, the later one sees both.
    """
    if Delivery.objects.filter(version=version_id, state=DeliveryState.WAITING).exists():
        return
    for run_id in Run.objects.filter(version=version_id, state__in=IN_FLIGHT).values_list(
        "pk", flat=True
    ):
        current_app.send_task("secrets_rotation.advance", args=[run_id])

"""Rotation for Prometheus: how old, how near, how stuck, how exposed; one sample for a secret.

Asked from the database at each scrape, so that web and worker agree.
"""

from __future__ import annotations

from collections.abc import Iterator

from django.db import Error as DatabaseAwayError
from django.utils import timezone
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from compliance_site.foundation.scraping import asking_database
from secrets_rotation import reading
from secrets_rotation.models import Run, Secret, Version, VersionState

LABELS = ("secret_type", "secret_name")


class RotationCollector(Collector):
    """The gauges of rotation."""

    def describe(self) -> list[Metric]:
        """Name nothing: to find out would ask the database while Django starts."""
        return []

    def collect(self) -> Iterator[Metric]:
        is_up = GaugeMetricFamily(
            "secret_rotation_up", "Whether the database told about rotation at this scrape."
        )
        try:
            with asking_database():
                families = [*_of_secrets(), *_of_runs(), _exposure()]
        except DatabaseAwayError:
            families = []
        is_up.add_metric((), float(bool(families)))
        yield is_up
        yield from families


def _family(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, labels=(*LABELS, *labels))


def _of_secrets() -> list[GaugeMetricFamily]:
    age = _family("secret_age_seconds", "Seconds since the secret was last rotated.")
    left = _family("secret_days_until_rotation", "Days until it is due; negative when overdue.")
    overdue = _family("secret_overdue", "1 while the secret is overdue.")
    now = timezone.now()
    for row in reading.schedule(Secret.objects.living(), now):
        labels = (row.secret.secret_type, row.secret.name)
        since = row.secret.last_rotated_at or row.secret.created_at
        age.add_metric(labels, (now - since).total_seconds())
        left.add_metric(labels, row.days_left)
        overdue.add_metric(labels, float(row.due_at <= now))
    return [age, left, overdue]


def _of_runs() -> list[GaugeMetricFamily]:
    state = _family("secret_rotation_state", "1 for the state that its run is in.", "state")
    attempts = _family("secret_rotation_attempts", "Attempts of the step that its run is at.")
    runs = Run.objects.in_flight().values_list(
        "secret__policy", "secret__name", "state", "attempts"
    )
    for secret_type, name, run_state, count in runs:
        state.add_metric((secret_type, name, run_state), 1)
        attempts.add_metric((secret_type, name), count)
    return [state, attempts]


def _exposure() -> GaugeMetricFamily:
    usable = _family(
        "secret_old_value_usable_seconds", "Seconds that a superseded value has gone on working."
    )
    now = timezone.now()
    previous = Version.objects.filter(state=VersionState.PREVIOUS, superseded_at__isnull=False)
    rows = previous.values_list("secret__policy", "secret__name", "superseded_at")
    for secret_type, name, superseded_at in rows:
        assert superseded_at is not None, "filtered above"
        usable.add_metric((secret_type, name), (now - superseded_at).total_seconds())
    return usable

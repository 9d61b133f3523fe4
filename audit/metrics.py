"""The audit trail for Prometheus: what waits on disk because the database did not take it."""

from __future__ import annotations

from collections.abc import Iterator

from django.conf import settings
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from audit.capture.spool import waiting


class SpoolCollector(Collector):
    """Asks no database: that is away when there is something to tell."""

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        try:
            entries = sum(count for _, count in waiting(settings.AUDIT_SPOOL))
        except OSError:
            # No sample: nobody knows, and the rule for that is `absent`.
            return
        yield GaugeMetricFamily(
            "audit_spool_entries", "Entries that wait on disk for the database.", entries
        )

"""Recovery for Prometheus, under the names that the user's document gives, and ages beside them.

Asked from the catalogue at each scrape, so that web, workers and restarts agree. An age is the
time of the last success: where there was none there is no sample, never 0, which is 1970.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar

from django.db import Error as DatabaseAwayError
from django.db import connection
from django.db.models import Count, Max, Q
from django.utils import timezone
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
    UnknownMetricFamily,
)
from prometheus_client.registry import Collector

from audit.models import Action, AuditLog
from compliance_site.foundation.scraping import asking_database
from recovery import metrics_store
from recovery.databases import CONSOLE, databases
from recovery.exceptions import ConfigurationError
from recovery.health import report
from recovery.health.probes import Probe
from recovery.health.results import Figures, Status
from recovery.models import Backup, BackupKind, BackupState
from recovery.physical import configured
from recovery.physical.recovery_point import FRESH_SECONDS, status
from recovery.restore import state

RATED = timedelta(days=30)
LEVEL = {Status.HEALTHY: 1.0, Status.DEGRADED: 0.5, Status.UNHEALTHY: 0.0}
STORED = Q(state=BackupState.STORED)
FAILED = Q(state=BackupState.FAILED)
# Taken away since, but it had succeeded.
TAKEN_AWAY = (BackupState.REMOVED, BackupState.MISSING)
SUCCEEDED = STORED | Q(state__in=TAKEN_AWAY, finished_at__isnull=False)


@dataclass(frozen=True)
class RecoveryPoint:
    """Looks at archive and server: a check like those of health, so that no scrape waits for it."""

    name: ClassVar[str] = "recovery_point"
    when_silent: ClassVar[Status] = Status.UNHEALTHY

    def run(self, deadline: float) -> Figures:
        found = status()
        if found is None:
            return {}
        base = found.last_base_backup_at
        return {
            "age_seconds": found.recovery_point_age_seconds,
            "base_backup_at": base.timestamp() if base else None,
        }


ARCHIVE = Probe(RecoveryPoint(), fresh_seconds=FRESH_SECONDS)

# A slot that was lost keeps nothing any more: nothing is safe.
SLOTS = """
SELECT slot_name, active,
       pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
                            ELSE pg_current_wal_lsn() END, restart_lsn),
       CASE wal_status WHEN 'lost' THEN 0 ELSE safe_wal_size END
FROM pg_replication_slots WHERE NOT temporary
"""


class RecoveryCollector(Collector):
    """Backups, failovers, health, and what went wrong when the database was asked."""

    def describe(self) -> list[Metric]:
        """Name nothing: to find out would ask the database while Django starts."""
        return []

    def collect(self) -> Iterator[Metric]:
        is_up = GaugeMetricFamily(
            "recovery_up", "Whether the database told about recovery at this scrape."
        )
        # First, for what it finds out about connections is counted below.
        yield _health()
        yield _connection_errors()
        yield from _recovery_point()
        yield from _restores()
        try:
            with asking_database():
                families = [*_of_backups(), *_of_slots(), _failovers()]
        except DatabaseAwayError:
            families = []
        is_up.add_metric((), float(bool(families)))
        yield is_up
        yield from families


def _health() -> Metric:
    family = GaugeMetricFamily(
        "health_check_status", "1 healthy, 0.5 degraded, 0 unhealthy.", labels=["component"]
    )
    for result in report.report(report.components()).results:
        family.add_metric((result.component,), LEVEL[result.status])
    return family


def _recovery_point() -> list[Metric]:
    """Tell how old the archive is; where there is one and nobody knows, only that there is one."""
    expected = _gauge("recovery_point_expected", "1 where write-ahead log is archived.")
    age = _gauge("recovery_point_age_seconds", "What a disaster now would lose of the database.")
    base = _gauge("base_backup_last_success_timestamp_seconds", "When the newest was made.")
    if configured.is_configured():
        expected.add_metric((CONSOLE,), 1)
        figures = ARCHIVE.result().figures
        for family, name in ((age, "age_seconds"), (base, "base_backup_at")):
            if (figure := figures.get(name)) is not None:
                family.add_metric((CONSOLE,), figure)
    return [expected, age, base]


def _restores() -> list[Metric]:
    """Tell from the state files when a restore last ended in each way, and how long it took."""
    labels = ["database", "outcome"]
    ended = GaugeMetricFamily(
        "restore_last_timestamp_seconds",
        "When a restore last was done, undone or failed.",
        labels=labels,
    )
    took = GaugeMetricFamily(
        "restore_last_duration_seconds", "Seconds that it, or its undo, took.", labels=labels
    )
    for restore in state.last_ended():
        outcome = (restore.database, str(restore.step))
        ended.add_metric(outcome, restore.ended_at.timestamp())
        if (seconds := restore.took_seconds) is not None:
            took.add_metric(outcome, seconds)
    return [ended, took]


def _connection_errors() -> Metric:
    # Of no type: a Counter's name would get an ending that the document's names do not have.
    return UnknownMetricFamily(
        "database_connection_errors",
        "How often a health check did not reach the database, counted since the beginning.",
        metrics_store.connection_errors(),
    )


def _failovers() -> Metric:
    happened = AuditLog.objects.filter(action=Action.FAILOVER, source="console")
    return UnknownMetricFamily(
        "failover_events", "Failovers that the audit log records.", happened.count()
    )


def _of_backups() -> list[Metric]:
    rate = _gauge("backup_success_rate", "Share (0 to 1) of the last 30 days' backups that worked.")
    failures = CounterMetricFamily("backup_failures", "Backups that failed.", labels=["database"])
    stored = _gauge("backup_last_success_timestamp_seconds", "When the newest backup was stored.")
    verified = _gauge(
        "backup_last_verified_timestamp_seconds", "When a backup was last verified by a restore."
    )
    size = _gauge("backup_size_bytes", "Size of the newest backup.")
    for name, known in _history().items():
        labels = (name,)
        failures.add_metric(labels, known.get("failed", 0))
        if ended := known.get("recent", 0):
            rate.add_metric(labels, known["recent_good"] / ended)
        for family, moment in ((stored, known.get("stored")), (verified, known.get("verified"))):
            if isinstance(moment, datetime):
                family.add_metric(labels, moment.timestamp())
    for name, size_bytes in _sizes():
        size.add_metric((name,), size_bytes)
    return [rate, failures, stored, verified, size]


def _of_slots() -> list[Metric]:
    """Tell by bytes of write-ahead log how far behind who reads it is: times are no measure."""
    behind, active, safe = (
        GaugeMetricFamily(name, text, labels=["slot"])
        for name, text in (
            ("replication_slot_lag_bytes", "Bytes of log that its reader has not confirmed."),
            ("replication_slot_active", "1 while its reader is connected."),
            ("replication_slot_safe_bytes", "Bytes until it is lost; no sample without a limit."),
        )
    )
    with connection.cursor() as cursor:
        cursor.execute(SLOTS)
        for slot, is_active, lag_bytes, safe_bytes in cursor.fetchall():
            active.add_metric((slot,), float(is_active))
            for family, size in ((behind, lag_bytes), (safe, safe_bytes)):
                if size is not None:
                    family.add_metric((slot,), float(size))
    return [behind, active, safe]


def _history() -> dict[str, dict[str, Any]]:
    """Return by database what is known of its backups; nothing of one that has none."""
    recent = Q(started_at__gte=timezone.now() - RATED)
    rows = (
        Backup.objects.filter(kind=BackupKind.LOGICAL)
        .order_by("database")
        .values("database")
        .annotate(
            failed=Count("pk", filter=FAILED),
            recent=Count("pk", filter=recent & (SUCCEEDED | FAILED)),
            recent_good=Count("pk", filter=recent & SUCCEEDED),
            stored=Max("finished_at", filter=STORED),
            verified=Max("verified_at", filter=STORED),
        )
    )
    nothing: dict[str, dict[str, Any]] = {name: {} for name in _configured()}
    return nothing | {row["database"]: dict(row) for row in rows}


def _sizes() -> Iterator[tuple[str, int]]:
    newest = Backup.objects.stored().filter(kind=BackupKind.LOGICAL)
    newest = newest.order_by("database", "-finished_at", "-pk").distinct("database")
    for name, size_bytes in newest.values_list("database", "size_bytes"):
        assert size_bytes is not None, "a stored backup has a size"
        yield name, size_bytes


def _configured() -> list[str]:
    try:
        return sorted(databases())
    except ConfigurationError:
        return [CONSOLE]


def _gauge(name: str, text: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, labels=["database"])

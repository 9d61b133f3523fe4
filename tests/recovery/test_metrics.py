import os
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from django.db import OperationalError, connection
from django.utils import timezone
from prometheus_client import CollectorRegistry

from audit.models import Action
from compliance_site.foundation.scraping import asking_database, scrape
from recovery import metrics, metrics_store
from recovery.models import Backup, BackupState
from recovery.physical.recovery_point import PhysicalStatus
from recovery.restore import state
from recovery.restore.state import Step

CONSOLE = {"database": "console"}


@pytest.fixture(autouse=True)
def folder(settings, tmp_path, monkeypatch):
    settings.RECOVERY_FOLDER = tmp_path / "recovery"
    monkeypatch.setenv("RECOVERY_FOLDER", str(settings.RECOVERY_FOLDER))
    return settings.RECOVERY_FOLDER


@pytest.fixture
def registry():
    registry = CollectorRegistry()
    registry.register(metrics.RecoveryCollector())
    return registry


@pytest.fixture
def make_backup(db):
    def make(**overrides):
        number = Backup.objects.count()
        now = timezone.now()
        defaults = {
            "id": f"20261123T020000Z-{number:06x}",
            "database": "console",
            "state": BackupState.STORED,
            "started_at": now - timedelta(hours=1),
            "finished_at": now,
            "size_bytes": 1000,
            "manifest": {},
            "actor_type": "task",
        }
        return Backup.objects.create(**defaults | overrides)

    return make


@pytest.mark.django_db
def test_before_the_first_backup_counts_are_zero_and_ages_are_not_there(registry):
    assert registry.get_sample_value("recovery_up") == 1
    assert registry.get_sample_value("backup_failures_total", CONSOLE) == 0
    assert registry.get_sample_value("failover_events") == 0
    assert registry.get_sample_value("database_connection_errors") == 0
    for name in (
        "backup_success_rate",
        "backup_last_success_timestamp_seconds",
        "backup_last_verified_timestamp_seconds",
        "backup_size_bytes",
    ):
        assert registry.get_sample_value(name, CONSOLE) is None, name


def test_the_catalogue_is_what_is_told(make_backup, registry):
    stored_at, verified_at = (datetime(2026, 11, day, 3, tzinfo=UTC) for day in (22, 15))
    make_backup(finished_at=stored_at, size_bytes=4321)
    make_backup(finished_at=verified_at - timedelta(days=1), verified_at=verified_at)
    make_backup(state=BackupState.FAILED, reason="The disk is full.")
    make_backup(state=BackupState.REMOVED, verified_at=stored_at)
    make_backup(state=BackupState.MISSING, verified_at=stored_at, size_bytes=1)
    make_backup(state=BackupState.RUNNING, finished_at=None)
    make_backup(state=BackupState.FAILED, started_at=timezone.now() - timedelta(days=31))

    assert {
        name: registry.get_sample_value(name, CONSOLE)
        for name in (
            "backup_success_rate",
            "backup_failures_total",
            "backup_last_success_timestamp_seconds",
            "backup_last_verified_timestamp_seconds",
            "backup_size_bytes",
        )
    } == {
        "backup_success_rate": 0.8,
        "backup_failures_total": 2,
        "backup_last_success_timestamp_seconds": stored_at.timestamp(),
        "backup_last_verified_timestamp_seconds": verified_at.timestamp(),
        "backup_size_bytes": 4321,
    }


def test_databases_are_told_apart_also_one_that_is_configured_no_more(
    make_backup, registry, settings
):
    settings.BACKUP_DATABASES = "orders=postgresql://u:p@127.0.0.1/orders"
    make_backup(database="audit", state=BackupState.FAILED)

    counted = {
        name: registry.get_sample_value("backup_failures_total", {"database": name})
        for name in ("console", "orders", "audit")
    }

    assert counted == {"console": 0, "orders": 0, "audit": 1}


def test_what_is_configured_wrongly_hides_nothing_else(make_backup, registry, settings):
    settings.BACKUP_DATABASES = "nonsense"
    make_backup()

    assert registry.get_sample_value("backup_success_rate", CONSOLE) == 1


@pytest.mark.django_db
def test_failovers_of_the_console_are_counted_and_those_of_others_are_not(make_log, registry):
    make_log(action=Action.FAILOVER, source="console")
    make_log(action=Action.FAILOVER, source="trading-api")

    assert registry.get_sample_value("failover_events") == 1


def test_connection_errors_are_counted_across_processes(folder):
    program = (
        "import django; django.setup(); from recovery import metrics_store\n"
        "for _ in range(500): metrics_store.count_connection_error()"
    )
    command = [sys.executable, "-c", program]
    others = [subprocess.Popen(command, env=environment()) for _ in range(2)]
    for _ in range(500):
        metrics_store.count_connection_error()

    assert [other.wait(60) for other in others] == [0, 0]
    assert metrics_store.connection_errors() == 1500


def environment():
    return os.environ | {"DJANGO_SETTINGS_MODULE": "compliance_site.settings"}


def test_a_count_that_cannot_be_written_stops_nobody(folder, caplog, tmp_path):
    folder.mkdir()
    (folder / "counts").mkdir()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.touch()
    (folder / "counts/connection_errors").symlink_to(elsewhere)

    metrics_store.count_connection_error()

    assert "was not counted" in caplog.text
    assert elsewhere.stat().st_size == 0


@pytest.mark.django_db
def test_a_database_that_is_known_to_be_away_is_not_asked(registry, django_assert_num_queries):
    metrics_store.count_connection_error()

    with scrape(is_database_away=True), django_assert_num_queries(0):
        assert registry.get_sample_value("recovery_up") == 0
        assert registry.get_sample_value("database_connection_errors") == 1
        assert registry.get_sample_value("failover_events") is None


@pytest.mark.usefixtures("committed_db")
def test_a_question_that_is_not_answered_ends_at_its_deadline():
    started = time.monotonic()

    with pytest.raises(OperationalError), asking_database(0.3), connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(30)")

    assert time.monotonic() - started < 5


def test_metrics_are_served_under_the_documents_names(make_backup, client):
    make_backup()

    lines = client.get("/metrics").content.decode().splitlines()

    assert 'backup_success_rate{database="console"} 1.0' in lines
    assert "failover_events 0.0" in lines
    assert "database_connection_errors 0.0" in lines
    assert "audit_spool_entries 0.0" in lines


ENDS = ("restore_last_timestamp_seconds", "restore_last_duration_seconds")


@pytest.fixture
def restored(folder):
    """Write a restore's state down, as it began and ended."""

    def write(step, minute, took=30.0, **facts):
        began = datetime(2026, 11, 23, 14, minute, tzinfo=UTC)
        restore = state.new("orders", "20261123T020000Z-3f9ac1", dbname="shop_db", actor="ana")
        replace(
            restore,
            step=step,
            started_at=began.isoformat(),
            changed_at=(began + timedelta(seconds=took)).isoformat(),
            **facts,
        ).save()
        return began.timestamp() + took

    return write


@pytest.mark.django_db
def test_the_last_restore_is_told_by_how_it_ended(registry, restored):
    restored(Step.DONE, 1)
    done = restored(Step.DONE, 5, took=42.5)
    failed = restored(Step.FAILED, 9)
    undone = restored(Step.UNDONE, 20, took=600, seconds={"unpacked": 9.0, "undo": 0.2})
    restored(Step.LOADED, 30)

    told = {
        outcome: tuple(
            registry.get_sample_value(name, {"database": "orders", "outcome": outcome})
            for name in ENDS
        )
        for outcome in ("done", "failed", "undone", "loaded")
    }

    assert told == {
        "done": (done, 42.5),
        "failed": (failed, 30),
        "undone": (undone, 0.2),
        "loaded": (None, None),
    }


@pytest.mark.django_db
@pytest.mark.parametrize("damaged", [None, "{"])
def test_without_a_restore_that_can_be_read_there_is_none_to_tell(registry, damaged, restored):
    if damaged:
        restored(Step.DONE, 1)
        (state.folder() / "20261123T140000Z-3f9ac1.json").write_text(damaged)

    families = {family.name: family.samples for family in registry.collect()}

    assert [families[name] for name in ENDS] == [[], []]
    assert registry.get_sample_value("recovery_up") == 1


@pytest.fixture
def slot(administrator, worker_id):
    name = f"metrics_{worker_id}_{os.getpid()}"
    administrator(f"SELECT pg_create_physical_replication_slot('{name}', true)")
    yield name
    administrator(f"SELECT pg_drop_replication_slot('{name}')")


@pytest.mark.django_db
def test_a_slot_that_nobody_reads_shows_how_far_behind_it_is(slot, registry):
    labels = {"slot": slot}

    assert registry.get_sample_value("replication_slot_active", labels) == 0
    assert registry.get_sample_value("replication_slot_lag_bytes", labels) >= 0
    assert registry.get_sample_value("replication_slot_safe_bytes", labels) > 0


@pytest.fixture
def archive(settings, tmp_path):
    """An archive is configured, in which nothing is."""
    settings.WAL_ARCHIVE_PATH = tmp_path / "wal"
    settings.WAL_ARCHIVE_PATH.mkdir()
    metrics.ARCHIVE.forget()
    yield settings.WAL_ARCHIVE_PATH
    metrics.ARCHIVE.forget()


@pytest.mark.django_db
def test_without_an_archive_there_is_no_recovery_point(registry):
    assert registry.get_sample_value("recovery_point_expected", CONSOLE) is None
    assert registry.get_sample_value("recovery_point_age_seconds", CONSOLE) is None


@pytest.mark.django_db
def test_an_archive_without_a_base_backup_is_expected_to_have_a_recovery_point(archive, registry):
    assert registry.get_sample_value("recovery_point_expected", CONSOLE) == 1
    assert registry.get_sample_value("recovery_point_age_seconds", CONSOLE) is None
    name = "base_backup_last_success_timestamp_seconds"
    assert registry.get_sample_value(name, CONSOLE) is None


@pytest.mark.django_db
def test_the_recovery_points_age_is_what_the_archive_says(archive, registry, monkeypatch):
    made_at = datetime(2026, 11, 23, tzinfo=UTC)
    seen = PhysicalStatus("builtin", None, 12.5, None, 0, None, None, made_at, ())
    monkeypatch.setattr(metrics, "status", lambda: seen)

    assert registry.get_sample_value("recovery_point_age_seconds", CONSOLE) == 12.5
    made = registry.get_sample_value("base_backup_last_success_timestamp_seconds", CONSOLE)
    assert made == made_at.timestamp()

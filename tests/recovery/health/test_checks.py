import json
import socket
import time
from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.db import connections
from django.utils import timezone

from recovery.health import heartbeat
from recovery.health.checks import disk
from recovery.health.checks.audit import Audit
from recovery.health.checks.backup import Backup
from recovery.health.checks.celery import Celery
from recovery.health.checks.database import Database
from recovery.health.checks.disk import Disk
from recovery.health.checks.redis import Redis
from recovery.health.results import Degraded, Unhealthy
from recovery.models import Backup as BackupRow
from recovery.models import HealthProbe
from recovery.tasks import sample_health


def run(check, seconds=5.0):
    return check.run(time.monotonic() + seconds)


@pytest.fixture
def silent_port():
    """A server that accepts and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def database_at(monkeypatch):
    def at(**changes):
        monkeypatch.setitem(
            connections.settings, "default", connections.settings["default"] | changes
        )

    return at


def test_the_database_is_read_and_written(committed_db):
    before = timezone.now()

    run(Database())

    row = HealthProbe.objects.get()
    assert (row.pk, row.seen_at >= before) == (1, True)


def test_a_database_that_takes_no_changes_is_unhealthy(committed_db, administrator):
    administrator(f"ALTER DATABASE {committed_db} SET default_transaction_read_only = on")

    with pytest.raises(Unhealthy, match="takes no changes"):
        run(Database())


def test_a_database_that_may_not_be_written_is_unhealthy(committed_db, as_owner):
    as_owner("REVOKE ALL ON recovery_health_probe FROM PUBLIC, CURRENT_USER")
    as_owner(f"REVOKE INSERT ON recovery_health_probe FROM {runtime_role()}")

    with pytest.raises(Unhealthy, match="can be read but not written"):
        run(Database())


def test_a_database_that_may_not_be_read_is_unhealthy(committed_db, as_owner):
    as_owner("DROP TABLE recovery_health_probe")

    with pytest.raises(Unhealthy, match="cannot be read"):
        run(Database())


def runtime_role():
    return connections["default"].settings_dict["USER"]


@pytest.fixture
def as_owner(committed_db):
    def execute(statement):
        with connections["owner"].cursor() as cursor:
            cursor.execute(statement)

    return execute


@pytest.mark.parametrize("changes", [{"PORT": 1}, {"PASSWORD": "wrong"}, {"NAME": "no_such"}])
def test_a_database_that_refuses_is_unhealthy(committed_db, database_at, changes):
    database_at(**changes)

    with pytest.raises(Unhealthy, match=r"^It refuses connections, or is not there.$"):
        run(Database())


def test_a_database_that_never_answers_is_given_up_by_the_check_itself(
    database_at, silent_port, django_db_setup
):
    database_at(HOST="127.0.0.1", PORT=silent_port)

    began = time.monotonic()
    with pytest.raises(TimeoutError):
        run(Database(), 0.2)
    assert time.monotonic() - began < 1.5


def test_the_broker_takes_a_key(broker):
    run(Redis())

    assert 0 < broker.ttl("compliance:health") <= 60


def test_a_broker_that_is_not_there_is_unhealthy(settings):
    settings.REDIS_URL = "redis://127.0.0.1:1/0"

    with pytest.raises(Unhealthy, match=r"^It refuses connections, or is not there.$"):
        run(Redis())


def test_a_broker_that_refuses_the_password_is_unhealthy(settings):
    head, _, tail = settings.REDIS_URL.partition("@")
    settings.REDIS_URL = f"redis://:wrong@{tail}" if tail else head

    with pytest.raises(Unhealthy, match=r"^It (refuses|takes)"):
        run(Redis())


def test_a_broker_that_never_answers_is_given_up(settings, silent_port):
    settings.REDIS_URL = f"redis://127.0.0.1:{silent_port}/0"

    with pytest.raises(TimeoutError):
        run(Redis(), 0.2)
    with pytest.raises(TimeoutError):
        run(Celery(), 0.2)


def test_no_worker_is_unhealthy(broker):
    with pytest.raises(Unhealthy, match="No worker") as finding:
        run(Celery())

    assert finding.value.figures == {"active_workers": 0, "oldest_task_seconds": None}


def test_workers_are_counted_by_their_heartbeats(broker):
    for name in ("celery@a", "celery@b", "celery@a"):
        heartbeat.Heart().beat(name)
    now = broker.time()[0]
    broker.zadd(heartbeat.WORKERS, {"celery@dead": now - heartbeat.ALIVE_SECONDS - 5})
    broker.zadd(heartbeat.WORKERS, {"celery@long-dead": now - heartbeat.FORGOTTEN_SECONDS - 5})

    assert run(Celery()) == {"active_workers": 2, "oldest_task_seconds": None}
    heartbeat.Heart().beat("celery@b")
    assert broker.zscore(heartbeat.WORKERS, "celery@long-dead") is None


def test_a_heart_beats_no_more_often_than_it_must_and_forgives_a_broker_away(broker, settings):
    heart = heartbeat.Heart()
    heart.beat("celery@a")
    broker.delete(heartbeat.WORKERS)
    heart.beat("celery@a")
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    heartbeat.Heart().beat("celery@a")

    assert not broker.exists(heartbeat.WORKERS)


def message(seconds_ago):
    return json.dumps({"body": "", "headers": {"published_at": time.time() - seconds_ago}})


def test_tasks_that_wait_too_long_degrade(broker):
    heartbeat.Heart().beat("celery@a")
    # Kombu pushes at the left: the oldest is at the right.
    broker.lpush("recovery", message(400), message(10))
    broker.lpush("celery", message(20))

    with pytest.raises(Degraded, match="five minutes") as finding:
        run(Celery())
    assert 400 <= finding.value.figures["oldest_task_seconds"] < 410


@pytest.mark.parametrize("strange", ["no json", "[]", '{"headers": {}}', '{"headers": null}', "1"])
def test_a_message_of_another_program_has_no_age(broker, strange):
    heartbeat.Heart().beat("celery@a")
    broker.lpush("celery", strange)

    assert run(Celery())["oldest_task_seconds"] is None


def test_a_task_carries_when_it_was_sent(broker):
    sample_health.delay()

    headers = json.loads(broker.lindex("celery", -1))["headers"]
    assert abs(headers["published_at"] - time.time()) < 30


GIB = 2**30


@pytest.mark.parametrize(
    ("total", "free", "finding"),
    [
        (100 * GIB, 20 * GIB, None),
        (10_000 * GIB, 11 * GIB, None),
        (100 * GIB, 9 * GIB, Degraded),
        (10_000 * GIB, 9 * GIB, Degraded),
        (100 * GIB, GIB // 2, Unhealthy),
        (GIB // 4, GIB // 300, Unhealthy),
    ],
)
def test_room_is_judged_by_share_and_amount(monkeypatch, total, free, finding):
    usage = SimpleNamespace(total=total, free=free)
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda folder: usage)

    if finding is None:
        assert run(Disk())["free_bytes"] == free
    else:
        with pytest.raises(finding):
            run(Disk())


def test_folders_that_are_not_made_yet_count_by_what_is_there(settings, tmp_path):
    settings.BACKUP_STORAGE_PATH = [str(tmp_path / "not" / "yet"), "s3://bucket/prefix"]

    assert set(run(Disk())) == {"free_percent", "free_bytes"}


def keep_backup(age, verified=False, **overrides):
    moment = timezone.now() - age
    values = {
        "id": f"backup-{age}-{verified}-{overrides.get('database')}",
        "database": "console",
        "state": "stored",
        "started_at": moment,
        "finished_at": moment,
        "manifest": {},
        "size_bytes": 1,
        "verified_at": timezone.now() if verified else None,
    }
    return BackupRow.objects.create(**values | overrides)


def make_console_old(as_owner, days):
    as_owner(f"UPDATE django_migrations SET applied = applied - interval '{days} days'")


@pytest.fixture
def orders_too(settings):
    """A second database to back up; health looks at what is known of it, and not into it."""
    settings.BACKUP_DATABASES = "orders=postgresql://ops:hunter2@db.internal/orders"


def found(check):
    """Return the reason and the figures of a check that degrades."""
    with pytest.raises(Degraded) as finding:
        run(check)
    return finding.value.reason, finding.value.figures


def test_backups_that_are_young_and_verified_are_healthy(as_owner, orders_too):
    make_console_old(as_owner, 90)
    keep_backup(timedelta(hours=3))
    keep_backup(timedelta(days=3), verified=True)
    keep_backup(timedelta(minutes=1), verified=True, database="orders")
    keep_backup(timedelta(days=80), database="not-configured-any-more")

    figures = run(Backup())

    assert (figures["databases"], figures["databases_amiss"]) == (2, 0)
    assert 3 * 3600 <= figures["stored_age_seconds"] < 3 * 3600 + 60
    assert 3 * 86_400 <= figures["verified_age_seconds"] < 3 * 86_400 + 60


@pytest.mark.parametrize(
    ("backups", "reason"),
    [
        ([], "console: there is no backup."),
        (
            [(timedelta(hours=27), True)],
            "console: the newest backup is 27 hours old.",
        ),
        (
            [(timedelta(hours=1), False), (timedelta(days=9), False)],
            "console: no backup was ever restored to check it: nobody knows that one can be.",
        ),
        (
            [(timedelta(hours=1), False), (timedelta(days=9), True)],
            "console: the newest verified backup is 9 days old.",
        ),
    ],
)
def test_backups_that_are_missing_or_old_degrade(as_owner, backups, reason):
    make_console_old(as_owner, 9)
    for age, verified in backups:
        keep_backup(age, verified)

    said, figures = found(Backup())

    assert said == reason
    assert (figures["databases"], figures["databases_amiss"]) == (1, 1)


def test_the_last_attempt_that_failed_degrades_although_there_are_good_ones(committed_db):
    keep_backup(timedelta(hours=3), verified=True)
    keep_backup(timedelta(hours=1), id="bad", state="failed", reason="Host db.internal is away.")
    keep_backup(timedelta(minutes=1), id="going on", state="running", finished_at=None)

    reason, figures = found(Backup())

    assert reason == "console: the last attempt failed."
    assert 3 * 3600 <= figures["stored_age_seconds"] < 3 * 3600 + 60


def test_a_failure_before_the_last_success_is_forgiven(committed_db):
    keep_backup(timedelta(hours=3), id="bad", state="failed")
    keep_backup(timedelta(hours=1), verified=True)

    assert run(Backup())["databases_amiss"] == 0


def test_a_backup_that_was_taken_away_degrades_although_there_are_good_ones(committed_db):
    keep_backup(timedelta(hours=3), verified=True)
    keep_backup(timedelta(days=2), id="gone", state="missing", verified=True)

    assert found(Backup())[0] == (
        "console: 1 of its backups cannot be found any more; retention did not remove them."
    )


def test_a_newest_backup_that_failed_its_verification_degrades(committed_db):
    keep_backup(timedelta(days=2), verified=True)
    newest = keep_backup(timedelta(hours=1))
    newest.verifications.create(passed=True, started_at=timezone.now() - timedelta(minutes=9))
    newest.verifications.create(passed=False, reason="3 rows are missing.")

    assert found(Backup())[0] == "console: the newest backup failed its verification."


def test_each_database_is_named_with_what_is_amiss(as_owner, orders_too):
    make_console_old(as_owner, 90)
    keep_backup(timedelta(days=3), verified=True)
    keep_backup(timedelta(days=2), id="bad", state="failed")

    reason, figures = found(Backup())

    assert reason == (
        "console: the newest backup is 3 days old; the last attempt failed."
        " orders: there is no backup."
    )
    assert (figures["databases"], figures["databases_amiss"]) == (2, 2)
    assert 3 * 86_400 <= figures["stored_age_seconds"] < 3 * 86_400 + 60


def test_a_setting_that_is_wrong_degrades_and_is_said_without_its_secrets(committed_db, settings):
    settings.BACKUP_DATABASES = "orders=postgresql://ops:hunter2@/orders"

    reason, figures = found(Backup())

    assert reason == ("No backup can be made: BACKUP_DATABASES (orders): the URL needs a host.")
    assert figures == {}


def test_a_new_console_has_a_day_for_its_first_backup_and_a_week_to_verify_it(as_owner, orders_too):
    nothing = {"stored_age_seconds": None, "verified_age_seconds": None}
    assert run(Backup()) == {"databases": 2, "databases_amiss": 0} | nothing

    make_console_old(as_owner, 7)
    assert found(Backup())[0] == "console: there is no backup. orders: there is no backup."
    for name in ("console", "orders"):
        keep_backup(timedelta(hours=1), database=name)
    assert run(Backup())["verified_age_seconds"] is None


def test_a_database_that_is_added_later_has_its_own_week(as_owner, orders_too):
    make_console_old(as_owner, 90)
    keep_backup(timedelta(hours=1), verified=True)
    keep_backup(timedelta(hours=1), database="orders")
    assert run(Backup())["databases_amiss"] == 0

    keep_backup(timedelta(days=9), database="orders", state="removed")

    assert found(Backup())[0].startswith("orders: no backup was ever restored to check it")


def test_backups_are_not_known_without_the_database(database_at):
    database_at(PORT=1)

    with pytest.raises(Degraded, match="Not known"):
        run(Backup())


@pytest.fixture
def spool(settings, tmp_path):
    settings.AUDIT_SPOOL = tmp_path / "entries"
    settings.AUDIT_SPOOL_MB = 1
    return settings.AUDIT_SPOOL


def test_an_empty_spool_is_healthy(spool):
    assert run(Audit()) == {"spooled_bytes": 0, "set_aside_bytes": 0}


def test_entries_that_wait_or_were_set_aside_degrade(spool):
    spool.with_name("entries.rejected").write_bytes(b"x" * 7)
    with pytest.raises(Degraded, match="set aside"):
        run(Audit())

    spool.with_name("entries.1").write_bytes(b"x" * 10)
    with pytest.raises(Degraded, match="wait on disk") as finding:
        run(Audit())
    assert finding.value.figures == {"spooled_bytes": 10, "set_aside_bytes": 7}


def test_a_full_spool_is_unhealthy(spool):
    spool.write_bytes(b"x" * 2**20)

    with pytest.raises(Unhealthy, match="full"):
        run(Audit())

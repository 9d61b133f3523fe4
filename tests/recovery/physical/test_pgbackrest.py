"""The adapter against Debian's pgBackRest and Debian's PostgreSQL."""

from datetime import timedelta

import pytest

from recovery.exceptions import ConfigurationError, RefusedError
from recovery.physical import configured, pitr, schedule
from recovery.physical.accounts import run
from recovery.physical.pgbackrest import PgBackRest
from recovery.physical.recovery_point import current
from recovery.physical.schedule import Due
from tests.recovery.physical.lab import LATEST, LONG_AGO, SYSTEM, Lab, at, lsn, named, wait_until

STANZA = "lab"


@pytest.fixture(scope="module")
def site():
    """A server that archives with pgBackRest, as its manual says, and the adapter to it."""
    lab = Lab(SYSTEM)
    try:
        repository = lab.folder / "repository"
        repository.mkdir()
        lab.account.own(repository)
        config = lab.folder / "pgbackrest.conf"
        config.write_text(
            f"""[global]
repo1-path={repository}
repo1-retention-full=2
log-path={lab.folder}
lock-path={lab.folder}
spool-path={lab.folder}
start-fast=y
compress-type=lz4
log-level-file=off
[{STANZA}]
pg1-path={lab.data}
pg1-port={lab.port}
pg1-socket-path={lab.folder}
pg1-user=lab_admin
"""
        )
        lab.account.own(config)
        (lab.data / "pg_hba.conf").write_text(
            "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
        )
        push = f"pgbackrest --config={config} --stanza={STANZA} archive-push %p"
        lab.restart(
            archive_mode="on", archive_command=push, unix_socket_directories=str(lab.folder)
        )
        run(
            ["pgbackrest", f"--config={config}", f"--stanza={STANZA}", "stanza-create"],
            account=lab.account,
        )
        lab.engine = PgBackRest(lab.database, config, STANZA)
        lab.execute("CREATE TABLE row (word text)")
        lab.engine.back_up(incremental=False)
        yield lab
    finally:
        lab.remove()


def test_a_moment_a_position_and_the_latest_are_reached(site):
    # It tells in whole seconds when a backup ended.
    ended = site.engine.backups()[-1].finished_at
    wait_until(lambda: site.now() >= ended)
    site.execute("INSERT INTO row VALUES ('first')")
    moment, position = site.now(), site.position()
    site.engine.back_up(incremental=True)
    site.execute("INSERT INTO row VALUES ('second')")
    site.execute("SELECT pg_switch_wal()")
    site.execute("INSERT INTO row VALUES ('third')")
    site.engine._run("check")  # switches to a new segment and waits until the last is archived

    rows = {}
    for name, target in {"time": at(moment), "lsn": lsn(position), "latest": LATEST}.items():
        outcome = pitr.restore(site.engine, target, site.restore_folder(), print)
        rows[name] = [row for (row,) in site.restored_rows(outcome, "SELECT word FROM row")]

    assert rows == {"time": ["first"], "lsn": ["first"], "latest": ["first", "second", "third"]}
    assert [each.kind for each in site.engine.backups()] == ["full", "incremental"]
    assert [*site.engine.check(), *site.engine.try_out()] == []
    found = current(site.engine, site.database)
    assert (found.engine, found.gaps) == ("pgbackrest", 0)
    assert found.recovery_point_age_seconds < 120


def test_a_full_one_is_due_each_week_and_an_incremental_one_each_day(site):
    now = site.engine.backups()[-1].finished_at

    assert schedule.due(site.engine, now) == Due.NOTHING
    assert schedule.due(site.engine, now + timedelta(days=1)) == Due.INCREMENTAL
    assert schedule.due(site.engine, now + timedelta(days=8)) == Due.FULL


def test_a_server_that_cannot_be_asked_is_found_by_trying_and_not_by_looking(site):
    config = site.folder / "elsewhere.conf"
    config.write_text(site.engine.config.read_text().replace(f"pg1-port={site.port}", "pg1-port=1"))
    site.account.own(config)
    engine = PgBackRest(site.database, config, STANZA)

    (problem,) = engine.try_out()

    assert engine.check() == []
    assert problem.startswith("pgbackrest ended with ")


def test_a_target_outside_is_answered_with_what_is_covered(site):
    folder = site.restore_folder()

    for target in (at(LONG_AGO), at(site.now() + timedelta(hours=1)), lsn(1), lsn(2**60)):
        with pytest.raises(RefusedError, match=r"is not covered\. Covered: 20"):
            pitr.restore(site.engine, target, folder, print)
    with pytest.raises(RefusedError, match="cannot tell beforehand"):
        pitr.restore(site.engine, named("x"), folder, print)

    assert not folder.exists()


def test_a_stanza_that_was_not_created_is_a_configuration_error(site):
    engine = PgBackRest(site.database, site.engine.config, "other")

    with pytest.raises(ConfigurationError, match=r"PGBACKREST_STANZA: .* no stanza 'other'"):
        engine.backups()


@pytest.mark.django_db
def test_settings_that_are_missing_are_named(settings):
    settings.RECOVERY_ENGINE = "pgbackrest"
    settings.PGBACKREST_CONFIG = None

    assert configured.is_configured() is False
    with pytest.raises(ConfigurationError, match="needs PGBACKREST_CONFIG"):
        configured.engine()
    with pytest.raises(ConfigurationError, match="log is archived by that program"):
        configured.archive()


@pytest.mark.django_db
def test_without_a_path_there_is_no_archive(settings):
    settings.WAL_ARCHIVE_PATH = None

    assert configured.is_configured() is False
    with pytest.raises(ConfigurationError, match="WAL_ARCHIVE_PATH is not set"):
        configured.engine()

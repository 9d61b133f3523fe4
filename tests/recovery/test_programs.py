import os
import subprocess
import tempfile
from pathlib import Path

import psycopg
import pytest
from django.core.exceptions import ImproperlyConfigured

from compliance_site.foundation.checks import refuse_unsafe_settings
from recovery import programs
from recovery.databases import database, databases
from recovery.exceptions import (
    ConfigurationError,
    ProgramError,
    ServerAwayError,
    UnknownDatabaseError,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def console():
    return database("console")


def test_the_programs_have_the_servers_major_version(console):
    found = programs.programs_for(console.server_version)

    assert found.major == console.server_version // 10_000
    assert found.path("pg_dump").name == "pg_dump"


def test_a_server_without_programs_is_told_what_to_install():
    with pytest.raises(ProgramError, match=r"PostgreSQL 9 and needs .*Install postgresql-client-9"):
        programs.programs_for(90_624)


def test_a_missing_program_is_named(tmp_path):
    with pytest.raises(ProgramError, match="has no pg_basebackup"):
        programs.Programs(tmp_path, 18).path("pg_basebackup")


def test_a_program_signs_in_and_shows_the_password_nowhere(console):
    dump = programs.programs_for(console.server_version).path("pg_dump")
    with tempfile.TemporaryFile() as stderr:
        process = programs.start([dump, "--schema-only"], console, stderr, stdout=subprocess.PIPE)
        shown = Path(f"/proc/{process.pid}/environ").read_bytes()
        shown += Path(f"/proc/{process.pid}/cmdline").read_bytes()
        output, _ = process.communicate(timeout=60)

    assert process.returncode == 0
    assert b"CREATE TABLE" in output
    assert b"PGPASSFILE" in shown
    assert console.password.reveal().encode() not in shown


def test_what_a_program_complained_of_is_an_error_without_the_password(console):
    dump = programs.programs_for(console.server_version).path("pg_dump")
    with tempfile.TemporaryFile() as stderr:
        process = programs.start([dump], console.on("nowhere"), stderr)
        process.wait(60)
        error = programs.complaint("pg_dump", process.returncode, stderr)

    assert str(error).startswith("pg_dump ended with 1: ")
    assert '"nowhere" does not exist' in str(error)


def test_an_unknown_name_is_answered_with_the_nearest(settings):
    url = os.environ["DATABASE_ADMIN_URL"]
    settings.BACKUP_DATABASES = f"orders={url}"

    with pytest.raises(UnknownDatabaseError, match="Did you mean orders"):
        database("order")
    assert database("orders").dbname == "postgres"


@pytest.mark.parametrize(
    "pairs",
    [
        "orders",
        "console=postgresql://u@h/d",
        "../x=postgresql://u@h/d",
        "a=postgresql://u:geheim@/d",
    ],
)
def test_a_pair_that_cannot_be_is_named_without_its_password(settings, pairs):
    settings.BACKUP_DATABASES = pairs

    with pytest.raises(ConfigurationError, match="BACKUP_DATABASES") as refusal:
        database("orders")
    assert "geheim" not in str(refusal.value)


def test_a_process_may_know_databases_by_name_only(settings):
    settings.BACKUP_DATABASE_NAMES = ["console", "orders", "billing"]

    assert list(databases()) == ["console", "orders", "billing"]
    assert database("console").host
    with pytest.raises(ServerAwayError, match="orders: this process knows its name only"):
        database("orders").connect()


def test_names_that_cannot_be_are_refused_and_not_said(settings):
    settings.BACKUP_DATABASE_NAMES = ["orders=postgresql://u:geheim@h/d"]

    with pytest.raises(ConfigurationError, match="BACKUP_DATABASE_NAMES: names are") as refusal:
        databases()
    assert "geheim" not in str(refusal.value)


@pytest.mark.parametrize(
    ("names", "different"), [(["console"], "orders"), (["orders", "billing"], "billing")]
)
def test_a_worker_whose_databases_the_others_do_not_know_does_not_start(settings, names, different):
    settings.BACKUP_DATABASES = "orders=postgresql://u:geheim@127.0.0.1:9/d"
    settings.BACKUP_DATABASE_NAMES = names

    with pytest.raises(
        ImproperlyConfigured, match=rf"recovery.E001.* one of them has {different}\."
    ):
        refuse_unsafe_settings()
    with pytest.raises(ConfigurationError, match="must name the same databases"):
        databases()


def test_a_worker_that_knows_what_the_others_know_reaches_it(settings):
    settings.BACKUP_DATABASES = "orders=postgresql://u:p@127.0.0.1:9/d"
    settings.BACKUP_DATABASE_NAMES = ["console", "orders"]

    refuse_unsafe_settings()

    assert list(databases()) == ["console", "orders"]
    assert database("orders").port == 9


def test_a_server_that_is_away_is_said_without_the_drivers_text(settings):
    settings.BACKUP_DATABASES = "orders=postgresql://u:geheim@127.0.0.1:9/d"

    with pytest.raises(ServerAwayError, match="orders: no connection to ") as away:
        database("orders").connect()
    assert not isinstance(away.value.__cause__, psycopg.Error)

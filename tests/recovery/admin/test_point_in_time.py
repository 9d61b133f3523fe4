import re
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from compliance_site.foundation.roles import Role
from recovery.admin import point_in_time
from recovery.physical import base_files, recovery_point
from tests.recovery.physical.conftest import own_lab as own_lab
from tests.recovery.physical.lab import SYSTEM, wait_until

PAGE = "/admin/recovery/backup/point-in-time/"


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch):
    monkeypatch.setattr(recovery_point, "_looks", {})


@pytest.fixture
def archived(db, settings, own_lab):
    """A server with a base backup, and its archive in the settings."""
    lab = own_lab(SYSTEM)
    lab.receive()
    lab.engine.back_up(incremental=False)
    settings.WAL_ARCHIVE_PATH = lab.archives
    settings.BACKUP_DATABASES = f"lab={lab.url}"
    return lab


def text_of(answer):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.content.decode()))


@pytest.mark.django_db
@pytest.mark.parametrize("role", [Role.AUDITOR, Role.OPERATOR, Role.SECURITY_OFFICER])
def test_without_an_archive_the_page_says_how_to_have_one(client_as, settings, role):
    settings.WAL_ARCHIVE_PATH = None

    text = text_of(client_as(role).get(PAGE))

    assert "Going back to a moment is not switched on" in text
    assert "Set WAL_ARCHIVE_PATH to a folder" in text


def test_everything_that_is_known_of_an_archive_is_shown(client_as, archived):
    backup = archived.engine.backups()[-1]
    base_files.pin(archived.archive, backup.id, "the audit", archived.now())

    answer = client_as(Role.AUDITOR).get(PAGE)

    # The console's own log is not received here.
    assert "<h1>console: somebody has to look</h1>" in answer.content.decode()
    text = text_of(answer).split(" lab fine ")[1]
    assert re.match(r"builtin asked at \d\d:\d\d:\d\d UTC ", text)
    assert re.search(r"would lose (nothing|at most \S+ m?s) when asked ", text)
    assert "Log is received yes" in text
    assert re.search(r"Server keeps for it \d", text)
    assert "Gaps none" in text
    since = f"{backup.finished_at:%Y-%m-%d %H:%M:%S}"
    assert re.search(rf"Covered \(UTC\) {since} to 20[\d :-]{{17}} \S+ to \S+, timeline 1", text)
    assert re.search(rf"{since} {backup.id} full \d+\.\d MiB (&lt; )?\d+ s stored pinned", text)


def test_what_is_amiss_is_shown_and_nothing_of_it_can_be_done_here(client_as, archived):
    for _ in range(3):
        archived.execute("SELECT pg_logical_emit_message(false, 'x', 'y')")
        archived.execute("SELECT pg_switch_wal()")
    position = archived.position()
    wait_until(lambda: archived.archive.newest() >= position)
    whole = sorted(each for each in archived.archive.wal.iterdir() if len(each.name) == 24)
    whole[-2].unlink()

    answer = client_as(Role.OPERATOR).get(PAGE)

    text = text_of(answer)
    assert f"The log has a gap. {whole[-2].name}: missing" in text
    assert f"Gaps in the log {whole[-2].name} gap missing" in text
    main = answer.content.decode().split("<h1>")[1]
    assert "<form" not in main


def test_the_time_of_what_is_kept_is_the_time_at_which_it_was_found(
    client_as, archived, monkeypatch
):
    browser = client_as(Role.AUDITOR)
    browser.get(PAGE)
    found = recovery_point.looks()["lab"]
    earlier = replace(found, at=found.at - timedelta(seconds=14))
    monkeypatch.setattr(point_in_time, "looks", lambda: {"lab": earlier})

    text = text_of(browser.get(PAGE))

    assert datetime.now(UTC) - found.at < timedelta(seconds=recovery_point.FRESH_SECONDS)
    assert f"builtin asked at {earlier.at:%H:%M:%S} UTC" in text
    assert "A server is asked every 15 s at most." in text
    assert text.count(" asked at ") == 1


def test_a_frozen_server_does_not_hold_the_page(client_as, archived):
    browser = client_as(Role.AUDITOR)
    began = time.monotonic()
    # The postmaster: the kernel still accepts for it.
    archived.process.suspend()
    try:
        answer = browser.get(PAGE)
    finally:
        archived.process.resume()

    assert time.monotonic() - began < recovery_point.PATIENCE_SECONDS + 4
    text = text_of(answer).split(" lab look ")[1]
    assert "no connection to 127.0.0.1" in text or "does not answer" in text
    assert "Log is received not known" in text
    assert archived.engine.backups()[-1].id in text


@pytest.mark.django_db
def test_a_wrong_list_of_databases_is_said(client_as, settings, tmp_path):
    settings.WAL_ARCHIVE_PATH = tmp_path
    settings.BACKUP_DATABASES = "console=postgresql://x"

    text = text_of(client_as(Role.AUDITOR).get(PAGE))

    assert "The archives cannot be told" in text
    assert "BACKUP_DATABASES: entry 1 must read name=postgresql://" in text

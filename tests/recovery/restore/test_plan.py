import shutil
from dataclasses import replace

import psycopg
import pytest
from pyrage.x25519 import Identity

from compliance_site.foundation.secret_text import SecretText
from recovery import programs
from recovery.backups import catalogue, source
from recovery.backups.source import Source
from recovery.exceptions import ProgramError, RefusedError, ServerAwayError
from recovery.restore import plan
from recovery.restore.plan import Level

pytestmark = pytest.mark.usefixtures("committed_db", "actor")


@pytest.fixture
def found(backup):
    return source.find(backup.id)


@pytest.fixture
def planned(shop, found):
    """Plan with facts that differ from the backup's; return the findings that are not ok."""

    def make(**facts):
        changed = replace(found.manifest, facts=replace(found.manifest.facts, **facts))
        made = plan.make(shop, Source(found.backup, changed))
        bad = [each for each in made.findings if each.level is not Level.OK]
        return [(each.subject, str(each.level)) for each in bad], made

    return make


def test_a_good_backup_has_a_plan_without_warnings(planned, shop):
    bad, made = planned()

    assert bad == []
    assert made.exit_code == 0
    assert any("What was written since" in each.text for each in made.findings)
    assert any(shop.dbname in step for step in made.steps)


@pytest.mark.parametrize(
    ("facts", "finding", "exit_code"),
    [
        ({"server_version": 190_000}, ("server", "refusal"), 2),
        ({"server_version": 150_004}, ("server", "warning"), 1),
        ({"extensions": {"nowhere": "1"}}, ("extensions", "refusal"), 2),
        ({"extensions": {"plpgsql": "0.5"}}, ("extensions", "warning"), 1),
        ({"owner": "nobody_of_this_name"}, ("roles", "refusal"), 2),
        ({"roles": ("nobody_of_this_name",)}, ("roles", "refusal"), 2),
        ({"locale": {"provider": "x", "collate": "C", "ctype": "C"}}, ("collation", "refusal"), 2),
        ({"size_bytes": 1 << 60}, ("disk", "refusal"), 2),
    ],
)
def test_what_speaks_against_it_is_found(planned, facts, finding, exit_code):
    bad, made = planned(**facts)

    assert bad == [finding]
    assert made.exit_code == exit_code


def test_missing_roles_are_named(planned):
    _, made = planned(roles=("zoe", "adam"))

    with pytest.raises(RefusedError, match="adam, zoe"):
        made.refuse()


def test_missing_programs_are_a_refusal(planned, monkeypatch):
    def none(version):
        raise ProgramError("Install postgresql-client-18.")

    monkeypatch.setattr(programs, "programs_for", none)

    bad, _ = planned()
    assert bad == [("programs", "refusal")]


def test_a_role_without_rights_is_refused(shop, found, settings, run_sql):
    run_sql("postgres", f"CREATE ROLE {shop.dbname} LOGIN PASSWORD 'weak'")
    weak = replace(shop, user=shop.dbname, password=SecretText("weak"))

    made = plan.make(weak, found)

    assert ("rights", Level.REFUSAL) in [(each.subject, each.level) for each in made.findings]
    run_sql("postgres", f"DROP ROLE {shop.dbname}")


def test_a_server_that_is_away_is_said(shop, found):
    with pytest.raises(ServerAwayError):
        plan.make(replace(shop, port=9), found)


def test_open_sessions_are_counted(shop, found, admin_url):
    with shop.connect():
        made = plan.make(shop, found)

    assert any("1 session is open and ends" in each.text for each in made.findings)


@pytest.fixture
def stored_file(backups_folder, backup):
    return backups_folder / "shop" / backup.file


def cut_off(path, settings):
    path.write_bytes(path.read_bytes()[:-1])


def changed_header(path, settings):
    sealed = bytearray(path.read_bytes())
    # Within the part of the header that is for the key.
    sealed[sealed.index(b"X25519") + 60] ^= 1
    path.write_bytes(sealed)


def removed(path, settings):
    path.unlink()


def another_key(path, settings):
    settings.BACKUP_IDENTITY = str(Identity.generate())


def no_key(path, settings):
    settings.BACKUP_IDENTITY = ""


@pytest.mark.parametrize(
    ("harm", "subject", "words"),
    [
        (cut_off, "stored file", "The sealed file is damaged: it has"),
        (changed_header, "stored file", "The sealed file is damaged"),
        (removed, "stored file", "No such file"),
        (another_key, "encryption key", "is not encrypted for the key in BACKUP_IDENTITY"),
        (no_key, "encryption key", "BACKUP_IDENTITY is empty"),
    ],
)
def test_a_backup_that_does_not_open_says_whether_file_or_key_is_to_blame(
    harm, subject, words, shop, found, stored_file, settings
):
    harm(stored_file, settings)

    made = plan.with_rows(plan.make(shop, found), shop, found.manifest)

    refusals = [each for each in made.findings if each.level is Level.REFUSAL]
    assert [each.subject for each in refusals] == [subject]
    assert words in refusals[0].text
    # What cannot be done is not described.
    assert (made.steps, made.rows) == ((), None)


def test_a_damaged_copy_beside_a_whole_one_is_a_warning(shop, backup, settings, tmp_path):
    second = tmp_path / "second"
    shutil.copytree(settings.BACKUP_STORAGE_PATH[0], second)
    settings.BACKUP_STORAGE_PATH = (*settings.BACKUP_STORAGE_PATH, str(second))
    catalogue.refresh()
    cut_off(second / "shop" / backup.file, settings)

    made = plan.make(shop, source.find(backup.id))

    said = [(each.subject, str(each.level)) for each in made.findings][:2]
    assert said == [("stored file", "ok"), ("stored file", "warning")]
    assert made.steps


def test_a_server_that_goes_away_meanwhile_is_said(shop, found, monkeypatch):
    def broken(*given):
        raise psycopg.OperationalError("password=hunter2")

    monkeypatch.setattr(plan, "missing_roles", broken)

    with pytest.raises(ServerAwayError, match="shop: the server went away") as refusal:
        plan.make(shop, found)
    assert "hunter2" not in str(refusal.value)

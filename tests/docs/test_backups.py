"""A backup opens with age and PostgreSQL's programs, by what docs/operator.md prints alone."""

import os
import re
import subprocess
from pathlib import Path
from urllib.parse import unquote, urlsplit

import psycopg
import pytest
from pyrage.x25519 import Identity

from recovery.backups import snapshot
from recovery.backups.create import create
from recovery.backups.readme import README
from recovery.databases import database
from recovery.programs import programs_for
from tests.recovery.backups.conftest import make_database as make_database
from tests.recovery.backups.conftest import places as places
from tests.recovery.backups.conftest import url_of

DOCUMENT = Path(__file__).resolve().parents[2] / "docs/operator.md"
PRINTED_ID = "20261123T020000Z-3f9ac1"


@pytest.fixture
def escrow(settings):
    identity = Identity.generate()
    settings.BACKUP_RECIPIENTS = [str(identity.to_public())]
    return identity


@pytest.fixture
def manifest(db, actor, settings, make_database, places, escrow):
    settings.BACKUP_DATABASES = f"orders={make_database()}"
    return create(database("orders"))


def printed():
    section = DOCUMENT.read_text().split("### Opening a backup without the console\n")[1]
    (script,) = re.findall(r"```bash\n(.*?)```", section.split("\n## ")[0], re.DOTALL)
    return script


def run(script, folder, **variables):
    url = urlsplit(os.environ["DATABASE_ADMIN_URL"])
    programs = programs_for(database("console").server_version).folder
    environment = {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PGHOST": url.hostname,
        "PGPORT": str(url.port),
        "PGUSER": unquote(url.username),
        "PGPASSWORD": unquote(url.password),
    }
    return subprocess.run(
        ["bash", "-eu", "-c", script],
        cwd=folder,
        env=environment | variables,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_printed_commands_restore_a_backup(manifest, escrow, places, tmp_path, administrator):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "key.txt").write_text(f"{escrow}\n")
    stored = places[1] / "orders" / manifest.file
    (folder / manifest.file).write_bytes(stored.read_bytes())
    target = f"restored_{manifest.id[-6:]}"
    script = printed().replace(PRINTED_ID, manifest.id).replace("restored", target)

    done = run(script, folder)

    assert done.returncode == 0, done.stderr
    with psycopg.connect(url_of(target)) as connection:
        found = snapshot.tables(connection)
    administrator(f"DROP DATABASE {target} WITH (FORCE)")
    assert snapshot.differences(manifest.tables, found) == ()
    assert (folder / "README.txt").read_text() == README


def test_the_printed_commands_stop_at_a_file_that_was_cut_off(manifest, escrow, places, tmp_path):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "key.txt").write_text(f"{escrow}\n")
    stored = places[1] / "orders" / manifest.file
    (folder / manifest.file).write_bytes(stored.read_bytes()[:-1000])

    done = run(printed().replace(PRINTED_ID, manifest.id), folder)

    assert done.returncode != 0
    assert "createdb" not in done.stderr


def test_the_text_inside_a_backup_names_the_same_commands():
    for line in printed().splitlines()[2:]:
        program = line.split()[0]
        assert program in README
    for option in ("--decrypt --identity key.txt", "--file=globals.sql", "--exit-on-error"):
        assert option in README
        assert option in printed()

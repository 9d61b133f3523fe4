"""Whatever happens to a backup being made: nothing partial is listed, and the next one works."""

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from urllib.parse import unquote, urlsplit

import psutil
import psycopg
import pytest

from audit.models import AuditLog
from compliance_site.foundation import embedded
from compliance_site.foundation.embedded import postgres
from compliance_site.foundation.embedded.home import find_home
from compliance_site.foundation.notices.models import Notice
from recovery import databases
from recovery.backups import watch
from recovery.backups.create import create
from recovery.databases import database
from recovery.exceptions import ServerAwayError
from recovery.models import Backup
from tests.recovery.backups.conftest import make_database as make_database
from tests.recovery.disks import small_disk as small_disk
from tests.recovery.faults.backing_up import (
    BackingUp,
    children,
    finish,
    frozen_pg_dump,
    is_dumping,
    last_line,
    wait_for_end,
)
from tests.services import FAST, MARK

# 16 MB that nothing makes smaller.
NOISE = """
    CREATE TABLE noise AS SELECT (SELECT string_agg(sha512((n * 1000 + m)::text::bytea), '')
    FROM generate_series(1, 64) AS m) FROM generate_series(1, 4000) AS n
"""
ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{6}")


@pytest.fixture
def backing_up(committed_db, make_database, tmp_path):
    return BackingUp(tmp_path, make_database())


@pytest.fixture
def under_way(backing_up):
    """A backup whose pg_dump was stopped."""
    process = backing_up.start()
    yield process, frozen_pg_dump(process)
    for child in children(process.pid):
        child.kill()
    if process.poll() is None:
        process.kill()
    process.communicate()


@pytest.fixture
def own_cluster():
    """A PostgreSQL that may be killed and frozen."""
    folder = Path(tempfile.mkdtemp(prefix="backup-tests-"))
    folder.chmod(0o755)
    programs = find_home(Path(os.environ[MARK])).path
    options = FAST | {"max_connections": "40", "shared_buffers": "16MB"}
    with embedded.running(folder / "var", postgres_options=options, binaries=programs) as endpoints:
        with psycopg.connect(endpoints.admin_url, autocommit=True) as connection:
            connection.execute("CREATE TABLE t AS SELECT generate_series(1, 1000) AS n")
        yield endpoints.admin_url, find_home(folder / "var")
    embedded.remove(folder / "var")
    shutil.rmtree(folder)


def assert_the_next_one_works(backing_up):
    done = backing_up.run("create", "orders", "--json")

    assert done.returncode == 0, done.stderr
    made = last_line(done)["id"]
    assert [each["id"] for each in backing_up.listed() if each["state"] == "stored"] == [made]
    assert backing_up.left() == sorted(
        f"{place.name}/orders/{made}{ending}"
        for place in backing_up.places
        for ending in (".json", ".tar.age")
    )


def test_a_backup_says_its_id_and_is_audited(backing_up):
    done = backing_up.run("create", "orders", "--json")

    assert done.returncode == 0, done.stderr
    shown = last_line(done)
    assert ID.fullmatch(shown["id"])
    (log,) = AuditLog.objects.filter(action="BACKUP")
    assert log.resource == f"/backups/{shown['id']}"
    assert '"success":true' in log.details
    assert "Dumping orders ..." in done.stderr
    assert "\r" not in done.stderr


def test_a_failure_is_one_sentence(backing_up):
    backing_up.url = "postgresql://u:geheim@127.0.0.1:9/d"

    done = backing_up.run("create", "orders")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "CommandError: orders: no connection to 127.0.0.1:9 as u to d: "
        "nothing listens there, the connection was refused.\n"
    )
    assert Notice.objects.filter(topic="backup.failed").exists()


def test_kill_9_of_the_command_ends_pg_dump_and_leaves_nothing_listed(backing_up, under_way):
    process, pg_dump = under_way
    below = children(process.pid)
    assert [each["state"] for each in backing_up.listed()] == ["running"]

    process.kill()
    process.wait()

    wait_for_end(below)
    assert not pg_dump.is_running()
    (row,) = backing_up.listed()
    assert (row["state"], row["reason"]) == (
        "failed",
        "The process that made it ended before it was done.",
    )
    assert Notice.objects.filter(topic="backup.failed").exists()
    assert_the_next_one_works(backing_up)


def test_one_that_is_told_to_end_cleans_up_after_itself(backing_up, under_way):
    process, _ = under_way
    below = children(process.pid)

    process.terminate()

    done = finish(process)
    assert done.returncode == 1
    assert "It was interrupted; nothing was stored." in done.stderr
    wait_for_end(below)
    assert backing_up.left() == []
    assert [each["reason"] for each in backing_up.listed()] == ["It was interrupted."]


def test_kill_9_of_pg_dump_is_a_failure_with_its_reason(backing_up, under_way):
    process, pg_dump = under_way

    pg_dump.kill()

    done = finish(process)
    assert done.returncode == 1
    shown = last_line(done)
    assert (shown["state"], shown["database"]) == ("failed", "orders")
    assert "pg_dump ended with 137" in shown["reason"]
    assert "pg_dump ended with 137" in done.stderr
    (row,) = backing_up.listed()
    assert (row["id"], row["state"]) == (shown["id"], "failed")
    assert '"success":false' in AuditLog.objects.get(action="BACKUP").details
    assert_the_next_one_works(backing_up)


def test_a_second_one_is_told_who_is_at_it_on_this_machine_and_elsewhere(backing_up, under_way):
    process, pg_dump = under_way

    here = backing_up.run("create", "orders", "--json")
    backing_up.variables["RECOVERY_FOLDER"] = str(backing_up.folder / "elsewhere")
    elsewhere = backing_up.run("create", "orders", "--json")

    for done in (here, elsewhere):
        assert done.returncode == 3, done.stderr
        assert last_line(done)["state"] == "busy"
        assert f"process {process.pid} since 20" in done.stderr
    pg_dump.send_signal(signal.SIGCONT)
    assert finish(process).returncode == 0
    assert [each["state"] for each in backing_up.listed()] == ["stored"]


def test_the_password_is_nowhere_in_proc(backing_up, under_way):
    process, _ = under_way
    password = unquote(urlsplit(backing_up.url).password).encode()

    below = children(process.pid)

    assert {"pg_dump"} <= {child.name() for child in below}
    for child in below:
        shown = Path(f"/proc/{child.pid}/environ").read_bytes()
        shown += Path(f"/proc/{child.pid}/cmdline").read_bytes()
        assert password not in shown


@pytest.mark.root_only
def test_a_disk_that_fills_up_while_dumping_is_a_failure(backing_up, small_disk):
    # After this one a small dump is expected.
    assert backing_up.run("create", "orders").returncode == 0
    with psycopg.connect(backing_up.url) as connection:
        connection.execute(NOISE)
    backing_up.variables["RECOVERY_FOLDER"] = str(small_disk / "recovery")

    done = backing_up.run("create", "orders", "--json")

    assert done.returncode == 1
    assert "No space left on device" in last_line(done)["reason"]
    assert [each["state"] for each in backing_up.listed()] == ["failed", "stored"]
    assert shutil.disk_usage(small_disk).used < 1 << 20


@pytest.mark.root_only
def test_a_working_folder_that_is_too_small_is_told_before(backing_up, small_disk):
    with open(small_disk / "filler", "wb") as file:
        file.write(bytes(10 << 20))
    backing_up.variables["RECOVERY_FOLDER"] = str(small_disk / "recovery")

    done = backing_up.run("create", "orders")

    assert done.returncode == 1
    assert re.search(
        rf"RECOVERY_FOLDER: {small_disk}/recovery/backups has [\d.]+ MiB free \(\d+ bytes\); "
        r"the dump needs about [\d.]+ MiB \(\d+ bytes\)",
        done.stderr,
    )


@pytest.mark.root_only
@pytest.mark.parametrize("trouble", ["full", "read-only"])
def test_a_store_that_takes_nothing_is_named_and_the_other_counts(backing_up, small_disk, trouble):
    if trouble == "full":
        with open(small_disk / "filler", "wb") as file:
            file.write(bytes((12 << 20) - 8192))
    else:
        subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    backing_up.places = [small_disk / "store", backing_up.folder / "good"]

    done = backing_up.run("create", "orders", "--json")

    assert done.returncode == 1
    shown = last_line(done)
    assert shown["state"] == "stored"
    reason = shown["copies"][str(small_disk / "store")]
    assert ("free" if trouble == "full" else "Read-only file system") in reason
    assert shown["copies"][str(backing_up.folder / "good")] == ""
    assert reason in done.stderr
    (row,) = backing_up.listed(1)
    assert (row["state"], row["copies"]) == ("stored", shown["copies"])
    assert Notice.objects.get(topic="backup.incomplete")


def test_a_bucket_that_cannot_be_reached_is_named_and_the_other_counts(backing_up):
    backing_up.places = ["s3://backups/here", backing_up.folder / "good"]
    backing_up.variables |= {
        "BACKUP_S3_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "geheim",
    }

    done = backing_up.run("create", "orders", "--json")

    assert done.returncode == 1
    copies = last_line(done)["copies"]
    assert copies["s3://backups/here"].startswith("s3://backups/here: no answer")
    assert copies[str(backing_up.folder / "good")] == ""
    assert "geheim" not in done.stdout + done.stderr


def test_no_store_at_all_is_a_failure(backing_up):
    (backing_up.folder / "first").write_text("not a folder")
    backing_up.places = [backing_up.folder / "first"]

    done = backing_up.run("create", "orders", "--json")

    assert done.returncode == 1
    assert last_line(done)["state"] == "failed"
    assert [each["state"] for each in backing_up.listed()] == ["failed"]


def test_without_the_consoles_database_another_one_is_backed_up_all_the_same(backing_up):
    away = "postgresql://nobody:nothing@127.0.0.1:9/nowhere"
    backing_up.variables = dict.fromkeys(
        ("DATABASE_URL", "DATABASE_OWNER_URL", "DATABASE_ADMIN_URL"), away
    )

    done = backing_up.run("create", "orders", "--json")

    assert done.returncode == 0, done.stderr
    # Behind it the audit trail says that it could not be written.
    (shown,) = [json.loads(line) for line in done.stdout.splitlines() if '"copies"' in line]
    backing_up.variables = {}
    assert [each["id"] for each in backing_up.listed()] == [shown["id"]]


def test_kill_9_of_the_server_is_a_failure(backing_up, own_cluster):
    backing_up.url, home = own_cluster
    process = backing_up.start()
    pg_dump = frozen_pg_dump(process)

    for each in server_of(home):
        each.kill()
    pg_dump.send_signal(signal.SIGCONT)

    done = finish(process)
    assert done.returncode == 1
    assert last_line(done)["state"] == "failed"
    assert [each["state"] for each in backing_up.listed()] == ["failed"]
    assert not [path for path in backing_up.left() if "recovery" not in path]


def test_a_frozen_server_is_left_in_the_end(
    committed_db, own_cluster, settings, tmp_path, monkeypatch, actor
):
    url, home = own_cluster
    settings.BACKUP_DATABASES = f"orders={url}"
    settings.BACKUP_STORAGE_PATH = [str(tmp_path / "store")]
    settings.RECOVERY_FOLDER = tmp_path / "recovery"
    monkeypatch.setattr(watch, "QUIET_SECONDS", 0.5)
    monkeypatch.setattr(databases, "CONNECT_SECONDS", 2)
    orders = database("orders")
    freezer = threading.Thread(target=freeze_when_dumping, args=(home,))
    freezer.start()

    began = time.monotonic()
    with pytest.raises(ServerAwayError, match="orders: The server stopped answering"):
        create(orders)

    freezer.join()
    thaw(home)
    assert time.monotonic() - began < 30
    assert Backup.objects.get().state == "failed"
    assert not [each for each in psutil.Process().children(recursive=True) if is_dumping(each)]


def freeze_when_dumping(home):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if any(is_dumping(each) for each in psutil.Process().children(recursive=True)):
            break
        time.sleep(0.002)
    for each in server_of(home):
        each.send_signal(signal.SIGSTOP)


def thaw(home):
    for each in server_of(home):
        each.send_signal(signal.SIGCONT)


def server_of(home):
    postmaster = postgres.find(home)
    return [postmaster, *postmaster.children()]

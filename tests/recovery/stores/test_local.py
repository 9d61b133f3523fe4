import os
import stat
import subprocess
import sys

import pytest

from recovery.exceptions import StoreError
from recovery.stores import local as module
from recovery.stores.local import LocalStore
from tests.recovery.stores.test_stores import content, put

WRITES_AND_WAITS = """
import sys, time
from pathlib import Path
from recovery.stores.local import LocalStore
with LocalStore(Path(sys.argv[1])).create("orders/a.json") as sink:
    sink.write(b"half")
    print("written", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def writer(local):
    process = subprocess.Popen(
        [sys.executable, "-c", WRITES_AND_WAITS, local.path], stdout=subprocess.PIPE
    )
    process.stdout.readline()
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def hidden(local):
    return [path for path in (local.path / "orders").iterdir() if path.name.startswith(".")]


def test_files_are_for_their_owner_only(local):
    put(local, "orders/a.json", b"content")

    modes = [
        stat.S_IMODE(os.stat(path).st_mode)
        for path in (local.path, local.path / "orders", local.path / "orders/a.json")
    ]
    assert modes == [0o700, 0o700, 0o600]


def test_what_a_killed_writer_left_is_removed_and_never_listed(local, writer):
    writer.kill()
    writer.wait()
    assert len(hidden(local)) == 1
    assert list(local.names("orders")) == []

    local.sweep("orders")

    assert hidden(local) == []


def test_what_is_being_written_is_not_swept(local, writer):
    local.sweep("orders")

    assert len(hidden(local)) == 1


def test_links_in_the_store_are_not_followed(local, tmp_path):
    put(local, "orders/a.json", b"content")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.json").write_text("secret")
    (local.path / "orders/link.json").symlink_to(outside / "secret.json")
    (local.path / "linked").symlink_to(outside)
    os.mkfifo(local.path / "orders/pipe.json")

    assert list(local.names("orders")) == ["orders/a.json"]
    for name in ("orders/link.json", "linked/secret.json", "orders/pipe.json"):
        with pytest.raises(StoreError):
            content(local, name)
    with pytest.raises(StoreError):
        put(local, "linked/new.json", b"content")
    with pytest.raises(StoreError):
        list(local.names("linked"))
    assert [path.name for path in outside.iterdir()] == ["secret.json"]


def test_a_fact_replaces_a_link_and_not_what_it_leads_to(local, tmp_path):
    put(local, "orders/a.json", b"content")
    (tmp_path / "victim").write_text("untouched")
    (local.path / "orders/pin.json").symlink_to(tmp_path / "victim")

    put(local, "orders/pin.json", b"pin", replace=True)

    assert (tmp_path / "victim").read_text() == "untouched"
    assert content(local, "orders/pin.json") == b"pin"


def test_a_file_system_without_links_is_written_all_the_same(local, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(module.os, "link", refuse)
    put(local, "orders/a.json", b"first")

    with pytest.raises(StoreError, match="File exists"):
        put(local, "orders/a.json", b"second")
    assert content(local, "orders/a.json") == b"first"
    assert hidden(local) == []


def test_a_folder_that_is_not_there_is_an_error_and_not_an_empty_store(local):
    with pytest.raises(StoreError, match="unless its disk is not mounted"):
        list(local.names("orders"))


def test_the_free_bytes_are_those_of_the_disk(local, tmp_path):
    usage = os.statvfs(tmp_path)

    assert abs(local.free_bytes() - usage.f_bavail * usage.f_frsize) < 1 << 30


@pytest.mark.root_only
def test_a_full_disk_and_a_read_only_one_are_told_with_the_path(tmp_path, small_disk):
    store = LocalStore(small_disk / "store")
    with pytest.raises(StoreError, match=f"{small_disk}/store: No space left"):
        put(store, "orders/a.json", bytes(20 << 20))
    assert hidden(store) == []

    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(StoreError, match=f"{small_disk}/store: Read-only file system"):
        put(store, "orders/a.json", b"content")

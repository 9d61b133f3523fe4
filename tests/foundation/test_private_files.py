import errno
import fcntl
import os
from pathlib import PurePath

import pytest

from compliance_site.foundation import private_files


def write(folder, name, text):
    with private_files.locked(folder, PurePath(name)) as file:
        file.replace(text)


def read(folder, name):
    with private_files.locked(folder, PurePath(name)) as file:
        return file.read()


def test_a_new_file_is_its_owners_alone(tmp_path):
    write(tmp_path, "keys", "text\n")

    assert read(tmp_path, "keys") == "text\n"
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o600
    assert read(tmp_path, "other") is None


@pytest.mark.parametrize(("before", "after"), [(0o640, 0o640), (0o666, 0o640), (0o400, 0o600)])
def test_a_group_that_could_read_still_can_and_others_no_more(tmp_path, before, after):
    (tmp_path / "keys").write_text("old")
    (tmp_path / "keys").chmod(before)

    write(tmp_path, "keys", "new")

    assert (tmp_path / "keys").stat().st_mode & 0o777 == after


@pytest.mark.root_only
def test_root_keeps_the_owner_of_the_file_and_of_the_folder(tmp_path):
    tmp_path.chmod(0o755)
    os.chown(tmp_path, 1234, 1234)
    (tmp_path / "keys").write_text("old")
    os.chown(tmp_path / "keys", 1234, 4321)

    write(tmp_path, "keys", "new")
    write(tmp_path, "other", "new")

    owners = {path.name: (path.stat().st_uid, path.stat().st_gid) for path in tmp_path.iterdir()}
    assert owners == {"keys": (1234, 4321), "other": (1234, 1234)}


@pytest.mark.parametrize(
    "make", [lambda path: path.symlink_to("/etc/hostname"), lambda path: path.mkdir(), os.mkfifo]
)
def test_what_is_no_ordinary_file_is_neither_read_nor_replaced(tmp_path, make):
    make(tmp_path / "keys")

    with pytest.raises(OSError, match=r".+"):
        read(tmp_path, "keys")
    with pytest.raises(OSError, match="not an ordinary file"):
        write(tmp_path, "keys", "new")

    assert [path.name for path in tmp_path.iterdir()] == ["keys"]


def test_a_folder_below_must_be_no_link(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")

    write(tmp_path, "real/keys", "text")
    with pytest.raises(NotADirectoryError):
        write(tmp_path, "link/keys", "other")

    assert read(tmp_path, "real/keys") == "text"


def test_what_a_killed_process_left_is_written_over(tmp_path):
    (tmp_path / ".keys.new").write_text("half of a sec")

    write(tmp_path, "keys", "text")

    assert [path.name for path in tmp_path.iterdir()] == ["keys"]


def test_a_file_is_unchanged_when_the_disk_is_full(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "keys").write_text("old")
    monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(OSError, match="No space"):
        write(tmp_path, "keys", "new")

    assert (tmp_path / "keys").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["keys"]


def test_a_file_that_grew_without_bounds_is_not_read(tmp_path):
    (tmp_path / "keys").write_bytes(b"x" * (private_files.LARGEST + 1))

    with pytest.raises(OSError, match="large"):
        read(tmp_path, "keys")


def test_a_lock_that_another_holds_is_not_waited_for_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(private_files, "LOCK_SECONDS", 0.05)
    other = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)

    with pytest.raises(OSError, match="another process"):
        read(tmp_path, "keys")

    os.close(other)
    assert read(tmp_path, "keys") is None

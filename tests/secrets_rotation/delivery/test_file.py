import json
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from secrets_rotation.delivery.destinations import folder as folders
from secrets_rotation.delivery.destinations.file import File
from secrets_rotation.exceptions import DeliveryError
from tests.secrets_rotation.delivery.conftest import VALUE, destination

PLAIN = {"format": "value", "mode": "0600", "previous": False}


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_value_is_the_whole_file(folder, make_parcel):
    destination("file", path="password").deliver(make_parcel(3))

    file = folder / "password"
    assert file.read_text() == VALUE.format(3)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert names(folder) == [".delivery-record", "password"]


def test_the_json_holds_version_username_and_the_version_before(folder, make_parcel):
    destination("file", path="db.json", format="json", previous=True).deliver(
        make_parcel(3, earlier=2)
    )

    assert json.loads((folder / "db.json").read_text()) == {
        "secretType": "DATABASE",
        "secretName": "abtpro_db",
        "version": 3,
        "username": "app_3",
        "value": VALUE.format(3),
        "previous": {"version": 2, "username": "app_2", "value": VALUE.format(2)},
    }


def test_the_same_version_again_leaves_the_file_untouched(folder, make_parcel):
    file = destination("file", path="password")
    file.deliver(make_parcel(3))
    before = (folder / "password").stat()

    file.deliver(make_parcel(3))

    assert (folder / "password").stat() == before


def test_an_older_version_never_takes_the_place_of_a_newer_one(folder, make_parcel):
    file = destination("file", path="password")
    file.deliver(make_parcel(3))

    with pytest.raises(DeliveryError, match="Version 3 is there already"):
        file.deliver(make_parcel(2))

    assert (folder / "password").read_text() == VALUE.format(3)


def test_another_secret_may_take_the_place(folder, make_parcel):
    file = destination("file", path="password")
    file.deliver(make_parcel(7))

    file.deliver(make_parcel(1, secret_name="other"))

    assert (folder / "password").read_text() == VALUE.format(1)


def test_the_mode_is_the_one_set_whatever_the_umask(folder, make_parcel):
    before = os.umask(0o077)
    try:
        destination("file", path="password", mode="0640").deliver(make_parcel())
    finally:
        os.umask(before)

    assert stat.S_IMODE((folder / "password").stat().st_mode) == 0o640


@pytest.mark.parametrize("mode", ["0644", "0660", "0777", "600", "4600", "0o600"])
def test_a_looser_mode_is_refused(folder, mode):
    assert "mode" in File.problems(PLAIN | {"path": "password", "mode": mode})


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "../out", "a/../../out", "a//b", "a/.", ".", "..", "", "a\0b", ".delivery-new"],
)
def test_paths_that_leave_the_folder_are_refused(folder, make_parcel, path):
    assert "path" in File.problems(PLAIN | {"path": path})
    with pytest.raises(DeliveryError):
        File(PLAIN | {"path": path}).deliver(make_parcel())


def test_without_a_folder_files_are_refused_with_the_remedy(settings, make_parcel):
    settings.DELIVERY_FOLDER = None

    assert File.problems(PLAIN | {"path": "password"}) == {"path": folders.NO_FOLDER}
    with pytest.raises(DeliveryError, match="DELIVERY_FOLDER is not set"):
        File(PLAIN | {"path": "password"}).deliver(make_parcel())


def test_a_link_in_the_place_of_the_file_is_not_followed(folder, tmp_path, make_parcel):
    outside = tmp_path / "outside"
    outside.write_text("untouched")
    (folder / "password").symlink_to(outside)

    with pytest.raises(DeliveryError):
        destination("file", path="password").deliver(make_parcel())

    assert outside.read_text() == "untouched"


def test_a_link_in_the_place_of_a_folder_is_not_followed(folder, tmp_path, make_parcel):
    (tmp_path / "elsewhere").mkdir()
    (folder / "app").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(DeliveryError):
        destination("file", path="app/password").deliver(make_parcel())

    assert names(tmp_path / "elsewhere") == []


def test_a_folder_swapped_for_a_link_all_the_time_never_leads_outside(
    folder, tmp_path, make_parcel
):
    outside, real = tmp_path / "outside", folder / "real"
    outside.mkdir()
    real.mkdir()
    (folder / "link").symlink_to(outside)
    (folder / "app").symlink_to("real")
    stopping = threading.Event()

    def swap():
        """Let `app` be by turns the real folder and a link to the outside."""
        while not stopping.is_set():
            for source in ("real", "link"):
                (folder / "app").unlink(missing_ok=True)
                os.rename(folder / source, folder / "app")
                os.rename(folder / "app", folder / source)

    thread = threading.Thread(target=swap)
    thread.start()
    arrived = 0
    try:
        for number in range(1, 400):
            try:
                destination("file", path="app/password").deliver(make_parcel(number))
                arrived += 1
            except DeliveryError:
                continue
    finally:
        stopping.set()
        thread.join()

    assert names(outside) == []
    print(f"arrived {arrived} of 399, outside 0")


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_what_is_no_file_is_left_alone(folder, make_parcel, kind):
    place = folder / "password"
    place.mkdir() if kind == "folder" else os.mkfifo(place)

    with pytest.raises(DeliveryError, match="no ordinary file"):
        destination("file", path="password").deliver(make_parcel())


def test_a_missing_folder_is_named_and_not_made(folder, make_parcel):
    with pytest.raises(DeliveryError, match=r"app/password: No such file or directory\."):
        destination("file", path="app/password").deliver(make_parcel())

    assert names(folder) == []


def test_what_a_killed_process_left_is_cleared_away(folder, make_parcel):
    (folder / folders.NEW).write_text("half a val")

    destination("file", path="password").deliver(make_parcel())

    assert names(folder) == [".delivery-record", "password"]


def test_a_change_by_somebody_else_meanwhile_is_not_overwritten(folder, make_parcel):
    file = folder / "password"
    file.write_text("before")

    with folders.locked("password") as place:
        found = place.existing()
        file.write_text("by hand, at this moment")
        with pytest.raises(DeliveryError, match="by somebody else"):
            place.replace(b"ours", 0o600, found)

    assert file.read_text() == "by hand, at this moment"
    assert names(folder) == ["password"]


def test_many_at_once_leave_a_whole_file_of_the_newest_version(folder, make_parcel):
    numbers, reasons = range(1, 41), []

    def bring(number):
        try:
            destination("file", path="password").deliver(make_parcel(number))
        except DeliveryError as refusal:
            reasons.append(refusal.reason)

    threads = [threading.Thread(target=bring, args=[number]) for number in numbers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (folder / "password").read_text() == VALUE.format(40)
    assert all("is older" in reason for reason in reasons)


def test_a_folder_that_another_process_holds_is_waited_for_only_so_long(
    folder, make_parcel, monkeypatch
):
    monkeypatch.setattr(folders, "LOCK_SECONDS", 0.1)

    with folders.locked("password"), pytest.raises(DeliveryError, match="Another process"):
        destination("file", path="password").deliver(make_parcel())


@pytest.mark.root_only
def test_owner_and_group_stay(folder, make_parcel):
    file = folder / "password"
    file.write_text("before")
    os.chown(file, 1234, 2345)

    destination("file", path="password").deliver(make_parcel())

    assert (file.stat().st_uid, file.stat().st_gid) == (1234, 2345)


UNPRIVILEGED = """
import os, sys
from pathlib import Path
from django.conf import settings
settings.configure(DELIVERY_FOLDER=Path(sys.argv[1]))
from secrets_rotation.delivery.destinations.folder import locked
from secrets_rotation.exceptions import DeliveryError
os.setgroups([]); os.setgid(4321); os.setuid(4321)
try:
    with locked("password") as place:
        place.replace(b"new", 0o600, place.existing())
except DeliveryError as refusal:
    print(refusal.reason)
"""


@pytest.mark.root_only
def test_a_file_is_not_taken_from_the_user_who_reads_it():
    """As a user who may not give files away, beside a file of another user's."""
    with TemporaryDirectory() as place:  # where an unprivileged user can get
        os.chmod(place, 0o777)
        file = Path(place) / "password"
        file.write_text("before")
        os.chown(file, 1234, 4321)
        file.chmod(0o640)
        command = [sys.executable, "-c", UNPRIVILEGED, place]
        answer = subprocess.run(command, capture_output=True, text=True, check=False)

        assert "belongs to another user" in answer.stdout, answer.stderr
        assert file.read_text() == "before"


@pytest.fixture
def small_disk(settings, tmp_path):
    """A disk of 64 KB that is nearly full, with version 1 on it."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", tmp_path], check=True)
    settings.DELIVERY_FOLDER = tmp_path
    yield tmp_path
    subprocess.run(["umount", tmp_path], check=True)


@pytest.mark.root_only
def test_a_full_disk_leaves_the_old_file_whole(small_disk, make_parcel):
    file = destination("file", path="password")
    file.deliver(make_parcel(1))
    free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
    (small_disk / "filler").write_bytes(b"x" * free)

    with pytest.raises(DeliveryError, match="No space left on device"):
        file.deliver(make_parcel(2, value="v" * 200))

    assert (small_disk / "password").read_text() == VALUE.format(1)
    assert names(small_disk) == [".delivery-record", "filler", "password"]


@pytest.mark.root_only
def test_a_full_disk_delivers_as_soon_as_there_is_room(small_disk, make_parcel):
    file = destination("file", path="password")
    file.deliver(make_parcel(1))
    (small_disk / "filler").write_bytes(b"x" * 40_000)
    with pytest.raises(DeliveryError):
        file.deliver(make_parcel(2, value="v" * 50_000))
    (small_disk / "filler").unlink()

    file.deliver(make_parcel(2, value="v" * 50_000))

    assert (small_disk / "password").read_text() == "v" * 50_000


@pytest.mark.root_only
def test_a_read_only_folder_leaves_the_old_file_whole(small_disk, make_parcel):
    file = destination("file", path="password")
    file.deliver(make_parcel(1))
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)

    with pytest.raises(DeliveryError, match="Read-only file system"):
        file.deliver(make_parcel(2))

    assert (small_disk / "password").read_text() == VALUE.format(1)

"""Stored files that were cut off, changed, or made by somebody else: nothing of them goes live."""

import hashlib
import io
import os
import random
import secrets
import subprocess
import tarfile
from dataclasses import replace

import pyrage
import pytest

from recovery import programs, sealing
from recovery.backups import archive, catalogue, contents, create, source, verify
from recovery.backups.manifest import Manifest
from recovery.exceptions import DamagedError, RecoveryError, RefusedError, SealError
from recovery.models import Backup
from recovery.restore import plan, run

pytestmark = pytest.mark.usefixtures("committed_db", "actor")


@pytest.fixture
def stored(backup, backups_folder):
    """The sealed file of the backup."""
    return backups_folder / "shop" / backup.file


@pytest.fixture
def unpack(backup, tmp_path):
    """Unpack the backup; nothing may be left of one that does not come out whole."""

    def unpack():
        contents.remove(tmp_path / "work")
        contents.unpack(source.find(backup.id), tmp_path / "work")
        return tmp_path / "work"

    return unpack


@pytest.fixture
def store(backup, backups_folder):
    """Store a tar as a backup of the same facts; return its id."""

    def put(tar: bytes, **changes):
        sealed = pyrage.encrypt(tar, [pyrage.x25519.Recipient.from_str(sealing.recipients()[0])])
        new = backup.id[:-6] + secrets.token_hex(3)
        fields = {"id": new, "file": f"{new}.tar.age", "size": len(sealed)}
        fields |= {"sha256": hashlib.sha256(sealed).hexdigest()}
        manifest: Manifest = replace(backup, **fields | changes)
        folder = backups_folder / "shop"
        (folder / manifest.file).write_bytes(sealed)
        (folder / f"{new}.json").write_bytes(manifest.signed())
        catalogue.refresh("shop")
        return new

    return put


def tar_of(*members):
    """Return a tar of these: a name with contents, or a `TarInfo` of a special kind."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for member, content in members:
            info = tarfile.TarInfo(member) if isinstance(member, str) else member
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return file.getvalue()


def special(name, kind, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize("tenth", range(10))
def test_a_file_that_was_cut_off_is_damaged(stored, unpack, tenth):
    os.truncate(stored, stored.stat().st_size * tenth // 10)

    with pytest.raises(DamagedError):
        unpack()


def test_a_file_without_its_last_byte_or_with_one_more_is_damaged(stored, unpack):
    whole = stored.read_bytes()
    for content in (whole[:-1], whole + b"\0", whole + whole):
        stored.write_bytes(content)
        with pytest.raises(DamagedError):
            unpack()
    stored.write_bytes(whole)
    assert (unpack() / "dump" / "toc.dat").is_file()


def test_no_flipped_bit_passes(stored, unpack):
    whole = stored.read_bytes()
    chance = random.Random(0)
    for _ in range(60):
        place, bit = chance.randrange(len(whole)), chance.randrange(8)
        changed = bytearray(whole)
        changed[place] ^= 1 << bit
        stored.write_bytes(changed)

        with pytest.raises((DamagedError, SealError)):
            unpack()


def test_a_flipped_byte_in_an_uncompressed_dump_is_found_by_comparing(
    shop, backup, store, tmp_path, run_sql
):
    """pg_restore takes such a dump without a word; the rows' hashes do not."""
    run_sql(shop.dbname, "DELETE FROM line WHERE id = 1001")
    folder = tmp_path / "forged"
    folder.mkdir()
    (folder / "settings.json").write_text("[]")
    dump = programs.programs_for(shop.server_version).path("pg_dump")
    command = [dump, "-Fd", "-Z0", "-f", folder / "dump"]
    with open(tmp_path / "stderr", "wb+") as stderr:
        process = programs.start(command, shop, stderr, stdout=subprocess.DEVNULL)
        assert process.wait(60) == 0
    assert verify.verify(store(archive.stream(folder).read())).passed
    rows = next(
        path for path in (folder / "dump").glob("*.dat") if b"item 77\n" in path.read_bytes()
    )
    rows.write_bytes(rows.read_bytes().replace(b"item 77\n", b"item 76\n"))

    report = verify.verify(store(archive.stream(folder).read()))

    assert report.passed is False
    assert "public.line: the number of rows is right, their contents differ" in report.reason
    assert run_sql(shop.dbname, "SELECT item FROM line WHERE id = 77") == [("item 77",)]


@pytest.mark.parametrize(
    "members",
    [
        [("../evil", b"x")],
        [("/tmp/evil", b"x")],
        [("dump/../../evil", b"x")],
        [("dump/a/b", b"x")],
        [("dump/.hidden", b"x")],
        [("dump\\toc.dat", b"x")],
        [("other.txt", b"x")],
        [("dump/" + "n" * 5000, b"x")],
        [(special("dump/toc.dat", tarfile.SYMTYPE, "/etc/passwd"), b"")],
        [(special("dump", tarfile.SYMTYPE, "/tmp"), b""), ("dump/toc.dat", b"x")],
        [(special("dump/toc.dat", tarfile.LNKTYPE, "../../secret"), b"")],
        [(special("dump/toc.dat", tarfile.CHRTYPE), b"")],
        [(special("dump/toc.dat", tarfile.FIFOTYPE), b"")],
        [(special("README.txt", tarfile.DIRTYPE), b"")],
        [("README.txt", b"nothing else")],
        [],
    ],
)
def test_a_tar_with_what_the_console_never_puts_into_one_is_refused(store, tmp_path, members):
    found = source.find(store(tar_of(*members)))

    with pytest.raises(DamagedError):
        contents.unpack(found, tmp_path / "work" / "inner")
    assert not list(tmp_path.rglob("evil"))


def test_a_tar_that_claims_more_than_is_stored_is_refused(store, tmp_path):
    bomb = special("dump/toc.dat", tarfile.REGTYPE)
    bomb.size = 1 << 40
    found = source.find(store(bomb.tobuf() + b"x" * 1024))

    with pytest.raises(DamagedError, match="more than was put into it"):
        contents.unpack(found, tmp_path / "work")


def test_what_is_no_tar_is_damaged(store, tmp_path):
    with pytest.raises(DamagedError):
        contents.unpack(source.find(store(os.urandom(5000))), tmp_path / "work")


def test_a_lost_or_foreign_key_is_named(backup, settings):
    for identity, text in (("", "BACKUP_IDENTITY is empty"), (new_key(), "not encrypted for")):
        settings.BACKUP_IDENTITY = identity
        made = plan.make(verify.database("shop"), source.find(backup.id))
        assert made.exit_code == 2
        assert any(text in finding.text for finding in made.findings)
        with pytest.raises(RefusedError):
            run.run(backup.id)


def test_a_rotated_key_opens_what_it_was_a_recipient_of(shop, backup, settings):
    escrow = pyrage.x25519.Identity.generate()
    settings.BACKUP_RECIPIENTS = (str(escrow.to_public()),)
    manifest = create.create(shop)

    settings.BACKUP_IDENTITY = str(escrow)

    assert verify.verify(manifest.id).passed
    report = verify.verify(backup.id)
    assert report.passed is False
    assert "BACKUP_IDENTITY" in report.reason


def test_a_changed_manifest_is_refused(backup, backups_folder):
    path = backups_folder / "shop" / f"{backup.id}.json"
    path.write_bytes(path.read_bytes().replace(b'"rows": 1000', b'"rows": 1001'))
    Backup.objects.all().delete()

    with pytest.raises(RecoveryError):
        source.find(backup.id)


def new_key():
    return str(pyrage.x25519.Identity.generate())


@pytest.mark.root_only
def test_a_work_folder_that_fills_up_changes_nothing(shop, backup, settings, tmp_path, monkeypatch):
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", small], check=True)
    try:
        settings.RECOVERY_FOLDER = small
        monkeypatch.setattr(contents, "require_room", lambda folder, size: None)

        with pytest.raises(RecoveryError, match="No space left on device"):
            run.run(backup.id)
        assert not list((small / "work").glob("*/*"))
    finally:
        subprocess.run(["umount", small], check=True)

import io
import os
import random
import subprocess
import threading

import pyrage
import pytest
from pyrage.x25519 import Identity

from recovery import sealing
from recovery.exceptions import ConfigurationError, DamagedError, SealError, StoreError

CONTENT = random.Random(1).randbytes(300_000)


@pytest.fixture
def identity(settings):
    identity = Identity.generate()
    settings.BACKUP_IDENTITY = str(identity)
    settings.BACKUP_RECIPIENTS = []
    return identity


def sealed(content=CONTENT):
    target = io.BytesIO()
    sealing.seal(io.BytesIO(content), target)
    return target.getvalue()


def opened(content):
    with sealing.open_sealed(io.BytesIO(content)) as stream:
        return stream.read()


def test_what_was_sealed_opens_again(identity):
    assert opened(sealed()) == CONTENT
    assert opened(sealed(b"")) == b""


def test_the_age_command_opens_it_with_the_escrow_key(identity, settings, tmp_path):
    escrow = Identity.generate()
    settings.BACKUP_RECIPIENTS = [str(escrow.to_public())]
    key = tmp_path / "key.txt"
    key.write_text(str(escrow))

    command = ["age", "--decrypt", "--identity", key]
    done = subprocess.run(command, input=sealed(), capture_output=True, check=True)

    assert done.stdout == CONTENT
    assert sealing.recipients() == (str(identity.to_public()), str(escrow.to_public()))


def test_another_key_opens_nothing_and_the_setting_is_named(identity, settings):
    content = sealed()
    settings.BACKUP_IDENTITY = str(Identity.generate())

    with pytest.raises(SealError, match="BACKUP_IDENTITY"):
        opened(content)


def test_a_file_cut_off_anywhere_is_damaged(identity):
    content = sealed()

    for tenth in range(10):
        with pytest.raises(DamagedError, match="cut off or changed"):
            opened(content[: len(content) * tenth // 10])
    with pytest.raises(DamagedError):
        opened(content[:-1])
    with pytest.raises(DamagedError):
        opened(content + b"x")


def test_a_flipped_bit_anywhere_behind_the_recipients_is_damaged(identity):
    content = sealed()
    header = content.index(b"\n---")

    for place in random.Random(2).sample(range(header, len(content)), 20):
        changed = bytearray(content)
        changed[place] ^= 1
        with pytest.raises(DamagedError):
            opened(bytes(changed))


def test_leaving_early_is_no_error_and_leaves_no_thread(identity):
    content = sealed(bytes(8 << 20))
    before = threading.active_count()

    with sealing.open_sealed(io.BytesIO(content)) as stream:
        assert stream.read(10) == bytes(10)

    assert threading.active_count() == before
    assert len(os.listdir("/proc/self/fd")) < 200


class Failing(io.RawIOBase):
    def readable(self):
        return True

    def read(self, size=-1):
        raise StoreError("the place is gone")

    def write(self, data):
        raise StoreError("the place is full")


def test_an_error_of_the_place_comes_through_as_it_is(identity):
    with pytest.raises(StoreError, match="the place is gone"):
        sealing.seal(Failing(), io.BytesIO())
    with pytest.raises(StoreError, match="the place is full"):
        sealing.seal(io.BytesIO(CONTENT), Failing())
    with (
        pytest.raises(StoreError, match="the place is gone"),
        sealing.open_sealed(Failing()) as stream,
    ):
        stream.read()


def test_keys_that_are_missing_or_wrong_are_told_by_their_setting(settings):
    settings.BACKUP_IDENTITY, settings.BACKUP_RECIPIENTS = "", []
    with pytest.raises(ConfigurationError, match=r"BACKUP_IDENTITY and BACKUP_RECIPIENTS .*age-k"):
        sealing.recipients()
    with pytest.raises(ConfigurationError, match=r"BACKUP_IDENTITY is empty.*age-keygen"):
        sealing.identity()

    settings.BACKUP_IDENTITY = "AGE-SECRET-KEY-1GEHEIM"
    with pytest.raises(ConfigurationError, match="BACKUP_IDENTITY is no age key") as refusal:
        sealing.recipients()
    assert "GEHEIM" not in str(refusal.value)

    settings.BACKUP_IDENTITY = ""
    settings.BACKUP_RECIPIENTS = [str(Identity.generate().to_public()), "age1wrong"]
    with pytest.raises(ConfigurationError, match="BACKUP_RECIPIENTS: entry 2 is no public age key"):
        sealing.recipients()


def test_without_a_key_of_its_own_the_console_seals_for_the_others(settings):
    escrow = Identity.generate()
    settings.BACKUP_IDENTITY, settings.BACKUP_RECIPIENTS = "", [str(escrow.to_public())]

    assert pyrage.decrypt(sealed(), [escrow]) == CONTENT

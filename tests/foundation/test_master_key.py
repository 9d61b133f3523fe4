import base64
import os
import secrets

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compliance_site.foundation import master_key, ring_file
from compliance_site.foundation.checks import master_key_is_private, production_is_safe
from compliance_site.foundation.development_key import development_master_key
from compliance_site.foundation.master_key import (
    MasterKey,
    MasterKeyError,
    Ring,
    UnknownKeyError,
)

ONE, TWO, THREE = (MasterKey(bytes([number]) * 31 + b"!") for number in (1, 2, 3))


@pytest.fixture
def key_file(settings, tmp_path):
    """The console keeps its ring in a file, with one key."""
    settings.COMPLIANCE_MASTER_KEY = ""
    settings.COMPLIANCE_MASTER_KEY_FILE = tmp_path / "master_key"
    (tmp_path / "master_key").write_text(f"# ours\n{ONE.text}\n")
    (tmp_path / "master_key").chmod(0o600)
    return tmp_path / "master_key"


@pytest.mark.parametrize(
    "text",
    [
        ONE.text,
        ONE.key.hex(),
        ONE.key.hex().upper(),
        base64.b64encode(ONE.key).decode(),
        f"  {ONE.text}\r\n",
        f"# {TWO.text}\n{ONE.text}",
        f"{ONE.text},{ONE.key.hex()}",
    ],
)
def test_one_key_in_many_ways_of_writing(text):
    assert Ring.of(text) == Ring((ONE,))


def test_the_first_key_is_the_current_one_and_a_marked_one_waits():
    ring = Ring.of(f"next:{THREE.text}\n{ONE.text}, {TWO.text}")

    assert ring == Ring((ONE, TWO), THREE)
    assert ring.current == ONE
    assert [ring.find(key.id) for key in (ONE, TWO, THREE)] == [ONE, TWO, THREE]
    assert Ring.of(ring.text) == ring


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# only a comment",
        f"next:{ONE.text}",
        f"next:{ONE.text} {ONE.text}",
        f"next:{ONE.text} next:{TWO.text} {THREE.text}",
        f"{ONE.text} next:",
        ONE.key.hex()[:-2],
        ONE.text[:-1],
        "ü" * 64,
        "٣" * 64,
        base64.b64encode(ONE.key + b"x").decode(),
    ],
)
def test_what_is_no_ring_is_refused(text):
    with pytest.raises(MasterKeyError):
        Ring.of(text)


@given(
    st.text() | st.lists(st.sampled_from([ONE.text, ONE.key.hex(), "next:", ",", "#"])).map("".join)
)
def test_any_text_is_a_ring_or_refused_without_being_shown(text):
    refusal = refusal_of(text)

    assert ONE.text not in refusal
    assert ONE.key.hex() not in refusal
    assert refusal.startswith(("no refusal", "There is no", "One key at most", "A key is not"))


def refusal_of(text):
    try:
        Ring.of(text)
    except MasterKeyError as exc:
        return str(exc)
    return "no refusal"


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=8))
def test_no_error_holds_a_key_that_is_nearly_right(key, more):
    spoiled = f"{key.hex()}{more.hex()}z"

    with pytest.raises(MasterKeyError) as caught:
        Ring.of(spoiled)

    assert key.hex() not in f"{caught.value!r}{caught.value.__cause__!r}"


def test_no_key_is_in_a_repr_and_an_id_tells_nothing():
    for shown in (repr(ONE), repr(Ring((ONE,), TWO)), f"{ONE}"):
        assert ONE.text not in shown
        assert repr(ONE.key) not in shown
    assert ONE.id not in {ONE.text[:16], ONE.key.hex()[:16]}
    assert len({ONE.id, TWO.id, THREE.id}) == 3


def test_a_file_is_read_again_when_it_has_changed(key_file):
    assert master_key.ring() == Ring((ONE,))

    key_file.write_text(f"{TWO.text}\n{ONE.text}\n")

    assert master_key.ring() == Ring((TWO, ONE))
    assert master_key.find(ONE.id) == ONE


def test_a_key_that_is_missing_is_looked_for_in_a_file_that_seems_unchanged(key_file):
    before = key_file.stat()
    key_file.write_text(f"{ONE.text}\n#{'x' * 46}")
    assert master_key.ring() == Ring((ONE,))
    seen = key_file.stat()

    # As a shared file does whose attributes this machine still remembers.
    key_file.write_text(f"{ONE.text}\n{TWO.text}\n  ")
    os.utime(key_file, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    assert key_file.stat().st_size == seen.st_size != before.st_size

    assert master_key.ring() == Ring((ONE,))
    assert master_key.find(TWO.id) == TWO


def test_an_unknown_key_is_named_by_its_id(key_file):
    with pytest.raises(UnknownKeyError, match=TWO.id):
        master_key.find(TWO.id)


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (lambda file: file.unlink(), "No such file"),
        (lambda file: (file.unlink(), file.mkdir()), "Is a directory"),
        (lambda file: file.write_text("short"), "COMPLIANCE_MASTER_KEY_FILE: A key"),
        (lambda file: file.write_bytes(b"\xff\xfe" + ONE.key), "COMPLIANCE_MASTER_KEY_FILE"),
        (lambda file: file.write_text(""), "COMPLIANCE_MASTER_KEY_FILE: There is no"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(key_file, prepare, words):
    prepare(key_file)

    with pytest.raises(MasterKeyError, match=words):
        master_key.ring()


@pytest.mark.parametrize("text", ["", "short", "next:" + ONE.text])
def test_a_variable_that_cannot_be_used_is_named(settings, text):
    settings.COMPLIANCE_MASTER_KEY = text

    with pytest.raises(MasterKeyError, match=r"^COMPLIANCE_MASTER_KEY"):
        master_key.ring()


def test_both_a_variable_and_a_file_are_refused(key_file, settings):
    settings.COMPLIANCE_MASTER_KEY = TWO.text

    with pytest.raises(MasterKeyError, match="not both"):
        master_key.ring()


def test_production_needs_a_ring(settings, key_file):
    settings.PRODUCTION = True
    key_file.write_text("short")
    assert "site.E006" in ids(production_is_safe(None))

    key_file.write_text(f"{'00' * 32}")
    assert "site.E006" in ids(production_is_safe(None))

    key_file.write_text(secrets.token_hex(32))
    assert "site.E006" not in ids(production_is_safe(None))

    settings.COMPLIANCE_MASTER_KEY = secrets.token_hex(32)
    (problem,) = [each for each in production_is_safe(None) if each.id == "site.E006"]
    assert "COMPLIANCE_MASTER_KEY_FILE" in problem.msg


@pytest.mark.parametrize(
    ("mode", "expected"), [(0o600, []), (0o640, []), (0o604, ["site.W001"]), (0o602, ["site.W001"])]
)
def test_a_file_that_everybody_may_open_is_reported(key_file, mode, expected):
    key_file.chmod(mode)

    assert ids(master_key_is_private(None)) == expected


def test_a_missing_file_is_not_a_question_of_its_mode(key_file):
    key_file.unlink()

    assert master_key_is_private(None) == []


def ids(messages):
    return [message.id for message in messages]


def test_a_new_key_comes_first_and_the_old_one_goes_on_decrypting(key_file):
    ring_file.put_first(TWO)

    assert master_key.ring() == Ring((TWO, ONE))
    assert key_file.stat().st_mode & 0o777 == 0o600
    assert sorted(each.name for each in key_file.parent.iterdir()) == ["master_key"]


def test_a_waiting_key_is_the_same_until_it_is_promoted(key_file):
    key = ring_file.waiting_key()

    assert ring_file.waiting_key() == key
    assert master_key.ring() == Ring((ONE,), key)
    ring_file.promote(key.id)
    ring_file.promote(key.id)
    assert master_key.ring() == Ring((key, ONE))
    assert ring_file.waiting_key() != key


def test_a_key_goes_but_never_the_current_one(key_file):
    ring_file.put_first(TWO)

    ring_file.remove({ONE.id, TWO.id})

    assert master_key.ring() == Ring((TWO,))


def test_what_never_was_first_is_withdrawn_and_nothing_else(key_file):
    key = ring_file.waiting_key()

    ring_file.withdraw_waiting(ONE.id)
    ring_file.withdraw_waiting(key.id)

    assert master_key.ring() == Ring((ONE,))


def test_a_link_leads_to_the_file_that_is_changed(key_file, settings, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(key_file)
    settings.COMPLIANCE_MASTER_KEY_FILE = link

    ring_file.put_first(TWO)

    assert link.is_symlink()
    assert Ring.of(key_file.read_text()) == Ring((TWO, ONE))


def test_a_file_that_cannot_be_changed_stays_and_is_named(key_file, monkeypatch):
    def refuse(*arguments, **options):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "rename", refuse)

    with pytest.raises(MasterKeyError, match=r"master_key cannot be changed: Read-only"):
        ring_file.put_first(TWO)

    assert master_key.ring() == Ring((ONE,))
    assert sorted(each.name for each in key_file.parent.iterdir()) == ["master_key"]


def test_a_key_that_nobody_has_is_not_promoted(key_file):
    before = key_file.read_text()

    with pytest.raises(UnknownKeyError):
        ring_file.promote(TWO.id)

    assert key_file.read_text() == before


def test_without_a_file_the_ring_is_not_changed():
    with pytest.raises(ring_file.NoRingFileError):
        ring_file.path()


def test_the_key_of_a_development_console_is_a_ring(tmp_path):
    file = development_master_key(tmp_path)

    assert len(Ring.of(file.read_text()).keys) == 1
    assert file.stat().st_mode & 0o777 == 0o600

import json
import os
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
import time_machine
from django.core import signing
from django.test import override_settings

from compliance_site.foundation.private_files import PrivateFile
from compliance_site.foundation.secret_text import SecretText
from secrets_rotation.exceptions import LeaseLostError, TargetUnknownError
from secrets_rotation.policies.generation import GenerationRules
from secrets_rotation.rotators.base import Answer, Credential
from secrets_rotation.rotators.django_secret_key import DjangoSecretKeyRotator, Keys

WORKS, REFUSED, UNKNOWN = Answer.WORKS, Answer.REFUSED, Answer.UNKNOWN
NOW = datetime(2025, 11, 9, 10, 30, tzinfo=UTC)
LATER = NOW + timedelta(minutes=5)


class HeldGuard:
    def confirm(self):
        pass

    def seconds_left(self):
        return 60.0


class LostGuard(HeldGuard):
    def confirm(self):
        raise LeaseLostError


def credential(number):
    return Credential("", SecretText(f"key-number-{number}-" + "x" * 50), number)


OLD, CURRENT, PENDING = (credential(number) for number in (1, 2, 3))
old, current, pending = (each.value.reveal() for each in (OLD, CURRENT, PENDING))
GUARD = HeldGuard()


@pytest.fixture
def key_file(settings, tmp_path):
    settings.DELIVERY_FOLDER = tmp_path
    (tmp_path / "app").mkdir()
    path = tmp_path / "app" / "keys.json"
    path.write_text(json.dumps({"SECRET_KEY": current, "SECRET_KEY_FALLBACKS": []}))
    return path


@pytest.fixture
def rotator(key_file):
    return DjangoSecretKeyRotator({"path": "app/keys.json", "rollout_seconds": 300})


def keys_of(key_file):
    read = json.loads(key_file.read_text())
    return read["SECRET_KEY"], read["SECRET_KEY_FALLBACKS"]


def set_fully(rotator, before=CURRENT):
    with time_machine.travel(NOW, tick=False), pytest.raises(TargetUnknownError):
        rotator.set(PENDING, before, GUARD)
    with time_machine.travel(LATER, tick=False):
        rotator.set(PENDING, before, GUARD)


def refused_at(moment, rotator, words):
    with (
        time_machine.travel(moment, tick=False),
        pytest.raises(TargetUnknownError, match=words),
    ):
        rotator.set(PENDING, CURRENT, GUARD)


def probed(rotator):
    return [rotator.probe(each) for each in (PENDING, CURRENT)]


def test_three_roll_outs(rotator, key_file):
    assert probed(rotator) == [REFUSED, WORKS]

    refused_at(NOW, rotator, "it signs from 10:35:00 on")
    assert keys_of(key_file) == (current, [pending])
    assert probed(rotator) == [REFUSED, WORKS]

    with time_machine.travel(LATER, tick=False):
        rotator.set(PENDING, CURRENT, GUARD)
    assert keys_of(key_file) == (pending, [current])
    assert probed(rotator) == [WORKS, WORKS]

    rotator.revoke(CURRENT, PENDING, GUARD)
    assert keys_of(key_file) == (pending, [])
    assert probed(rotator) == [WORKS, REFUSED]


def test_in_every_roll_out_old_and_new_processes_believe_each_other(rotator, key_file):
    """A process has read the file of this roll-out or the one before."""
    rollouts = [keys_of(key_file)]
    with time_machine.travel(NOW, tick=False), pytest.raises(TargetUnknownError):
        rotator.set(PENDING, CURRENT, GUARD)
    rollouts.append(keys_of(key_file))
    with time_machine.travel(LATER, tick=False):
        rotator.set(PENDING, CURRENT, GUARD)
    rollouts.append(keys_of(key_file))

    for before, after in pairwise(rollouts):
        for signer, reader in ((before, after), (after, before)):
            with override_settings(SECRET_KEY=signer[0], SECRET_KEY_FALLBACKS=signer[1]):
                token = signing.dumps("session")
            with override_settings(SECRET_KEY=reader[0], SECRET_KEY_FALLBACKS=reader[1]):
                assert signing.loads(token) == "session"


def test_asked_again_too_early_it_goes_on_waiting_from_the_first_time(rotator, key_file):
    for minutes in (0, 1, 4):
        refused_at(NOW + timedelta(minutes=minutes), rotator, "from 10:35:00 on")

    assert keys_of(key_file) == (current, [pending])


def test_every_step_twice_is_that_step(rotator, key_file):
    set_fully(rotator)
    with time_machine.travel(LATER, tick=False):
        rotator.set(PENDING, CURRENT, GUARD)
    assert keys_of(key_file) == (pending, [current])

    for _ in range(2):
        rotator.revoke(CURRENT, PENDING, GUARD)
    assert keys_of(key_file) == (pending, [])


def test_without_a_roll_out_time_it_is_one_step(key_file):
    rotator = DjangoSecretKeyRotator({"path": "app/keys.json", "rollout_seconds": 0})

    rotator.set(PENDING, CURRENT, GUARD)

    assert keys_of(key_file) == (pending, [current])


@pytest.mark.parametrize("is_set", [True, False])
def test_taken_back_the_key_is_gone_and_the_one_before_signs(rotator, key_file, is_set):
    if is_set:
        set_fully(rotator)
    else:
        with time_machine.travel(NOW, tick=False), pytest.raises(TargetUnknownError):
            rotator.set(PENDING, CURRENT, GUARD)

    for _ in range(2):
        rotator.discard(PENDING, CURRENT, GUARD)

    assert keys_of(key_file) == (current, [])
    assert probed(rotator) == [REFUSED, WORKS]
    assert json.loads(key_file.read_text())["NEXT_SINCE"] is None


def test_taken_back_for_a_first_value_the_files_own_key_signs_again(rotator, key_file):
    set_fully(rotator, before=None)

    rotator.discard(PENDING, None, GUARD)

    assert keys_of(key_file) == (current, [])


def test_another_value_after_one_that_was_taken_back_waits_anew(rotator, key_file):
    with time_machine.travel(NOW, tick=False), pytest.raises(TargetUnknownError):
        rotator.set(OLD, CURRENT, GUARD)
    rotator.discard(OLD, CURRENT, GUARD)

    refused_at(LATER, rotator, "from 10:40:00 on")

    assert keys_of(key_file) == (current, [pending])


def test_older_fallbacks_stay(rotator, key_file):
    key_file.write_text(json.dumps({"SECRET_KEY": current, "SECRET_KEY_FALLBACKS": [old]}))

    set_fully(rotator)
    rotator.revoke(CURRENT, PENDING, GUARD)

    assert keys_of(key_file) == (pending, [old])


def test_a_file_is_made_where_there_is_none(rotator, key_file):
    key_file.unlink()
    assert probed(rotator) == [REFUSED, REFUSED]
    rotator.discard(PENDING, CURRENT, GUARD)
    assert not key_file.exists()

    rotator.set(PENDING, None, GUARD)

    assert keys_of(key_file) == (pending, [])
    assert key_file.stat().st_mode & 0o777 == 0o600
    with pytest.raises(TargetUnknownError, match="no other key"):
        rotator.discard(PENDING, None, GUARD)


def test_a_lost_file_comes_back_with_both_keys(rotator, key_file):
    key_file.unlink()

    rotator.set(PENDING, CURRENT, GUARD)

    assert keys_of(key_file) == (pending, [current])


def test_the_key_that_signs_is_not_ended(rotator, key_file):
    with pytest.raises(TargetUnknownError, match="Another key signs"):
        rotator.revoke(CURRENT, PENDING, GUARD)

    assert keys_of(key_file) == (current, [])


def test_nothing_is_written_without_the_lease(rotator, key_file):
    before = key_file.read_text()

    for change in (
        lambda: rotator.set(PENDING, CURRENT, LostGuard()),
        lambda: rotator.discard(CURRENT, OLD, LostGuard()),
        lambda: rotator.revoke(OLD, CURRENT, LostGuard()),
    ):
        with pytest.raises(LeaseLostError):
            change()

    assert key_file.read_text() == before


@pytest.mark.parametrize(
    "text",
    [
        "",
        "DATABASE=postgres",
        "[]",
        "{}",
        '{"SECRET_KEY": 1}',
        '{"SECRET_KEY": ""}',
        '{"SECRET_KEY": "a", "SECRET_KEY_FALLBACKS": 5}',
        '{"SECRET_KEY": "a", "SECRET_KEY_FALLBACKS": [null]}',
        '{"SECRET_KEY": "a", "SECRET_KEY_FALLBACKS": ["b"], "NEXT_SINCE": "noon"}',
        '{"SECRET_KEY": "a", "SECRET_KEY_FALLBACKS": ["b"], "NEXT_SINCE": 7}',
        '{"SECRET_KEY": "a", "PASSWORD": "of something else"}',
    ],
)
def test_a_file_of_something_else_is_left_alone_and_not_shown(rotator, key_file, text):
    key_file.write_text(text)

    assert rotator.probe(CURRENT) is UNKNOWN
    with pytest.raises(TargetUnknownError, match=r"^keys.json is no file of Django keys.$"):
        rotator.set(PENDING, CURRENT, GUARD)
    assert key_file.read_text() == text


@pytest.mark.parametrize(
    "path",
    ["/etc/keys.json", "../keys.json", "app/../../keys.json", "app//keys.json", "", ".", "a\0b"],
)
def test_paths_lead_nowhere_else(rotator, tmp_path, path):
    target = {"path": path, "rollout_seconds": 0}

    assert "path" in DjangoSecretKeyRotator.problems(target)
    with pytest.raises(TargetUnknownError, match="below DELIVERY_FOLDER"):
        DjangoSecretKeyRotator(target).set(PENDING, CURRENT, GUARD)
    assert DjangoSecretKeyRotator(target).probe(CURRENT) is UNKNOWN


@pytest.mark.parametrize("name", ["app", "app/keys.json"])
def test_links_are_not_followed(rotator, key_file, tmp_path, name):
    text = key_file.read_text()
    (tmp_path / name).rename(tmp_path / "elsewhere")
    (tmp_path / name).symlink_to(tmp_path / "elsewhere")

    with pytest.raises(TargetUnknownError, match=r"app/keys.json: "):
        rotator.set(PENDING, CURRENT, GUARD)

    assert key_file.read_text() == text


def test_without_a_folder_nothing_is_written(rotator, settings):
    settings.DELIVERY_FOLDER = None

    assert "DELIVERY_FOLDER is not set" in rotator.problems(rotator.target)["path"]
    assert rotator.probe(CURRENT) is UNKNOWN


@pytest.mark.parametrize(("seconds", "is_good"), [(-1, False), (0, True), (10**9, False)])
def test_the_roll_out_has_bounds(rotator, seconds, is_good):
    problems = rotator.problems(rotator.target | {"rollout_seconds": seconds})

    assert (problems == {}) is is_good


@pytest.mark.parametrize("call", ["fsync", "rename"])
def test_a_write_that_fails_leaves_the_file_and_is_carried_on(rotator, key_file, monkeypatch, call):
    before = key_file.read_text()
    with monkeypatch.context() as broken:
        broken.setattr(os, call, fail)
        with pytest.raises(TargetUnknownError, match="No space left"):
            rotator.set(PENDING, CURRENT, GUARD)
    assert key_file.read_text() == before
    assert [each.name for each in key_file.parent.iterdir()] == ["keys.json"]

    set_fully(rotator)

    assert keys_of(key_file) == (pending, [current])


def fail(*arguments, **options):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("writes", [1, 2])
def test_killed_before_or_after_each_write_the_next_attempt_finishes(
    rotator, key_file, monkeypatch, writes
):
    """A killed process has done its first writes and none of the rest."""
    real = PrivateFile.replace
    done = []

    def killed_after(self, text):
        if len(done) == writes - 1:
            raise KeyboardInterrupt
        done.append(text)
        real(self, text)

    with monkeypatch.context() as killing:
        killing.setattr(PrivateFile, "replace", killed_after)
        with pytest.raises((KeyboardInterrupt, TargetUnknownError)):
            set_fully(rotator)
    assert probed(rotator) == [REFUSED, WORKS]

    set_fully_from_here(rotator)
    assert keys_of(key_file) == (pending, [current])


def set_fully_from_here(rotator):
    for moment in (LATER, LATER + timedelta(minutes=5)):
        with time_machine.travel(moment, tick=False):
            try:
                rotator.set(PENDING, CURRENT, GUARD)
            except TargetUnknownError:
                continue


def test_a_generated_key_is_long_enough_for_django(rotator):
    assert len(rotator.generate(GenerationRules(length=20)).reveal()) == 64
    assert len(rotator.generate(GenerationRules(length=100)).reveal()) == 100


def test_no_key_is_in_a_repr_or_a_principal(rotator):
    assert current not in repr(Keys(current, (pending,)))
    assert rotator.principal() == "Django SECRET_KEY in app/keys.json"

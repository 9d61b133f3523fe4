import pytest
from django.db import connection

from compliance_site.foundation import master_key, rewrap, ring_file
from compliance_site.foundation.data_keys import DataKey
from compliance_site.foundation.master_key import MasterKey, Ring
from compliance_site.foundation.secret_text import SecretText
from secrets_rotation.exceptions import LeaseLostError, TargetUnknownError, ValueRefusedError
from secrets_rotation.policies.generation import GenerationRules
from secrets_rotation.rotators.base import Answer, Credential
from secrets_rotation.rotators.master_key import MasterKeyRotator

pytestmark = pytest.mark.django_db
RULES = GenerationRules()
WORKS, REFUSED, UNKNOWN = Answer.WORKS, Answer.REFUSED, Answer.UNKNOWN


class HeldGuard:
    def confirm(self):
        pass

    def seconds_left(self):
        return 60.0


class LostGuard(HeldGuard):
    """The lease is lost after so many confirmations."""

    def __init__(self, after=0):
        self.after = after

    def confirm(self):
        self.after -= 1
        if self.after < 0:
            raise LeaseLostError


@pytest.fixture
def key_file(settings, tmp_path):
    path = tmp_path / "master_key"
    path.write_text(MasterKey.new().text)
    settings.COMPLIANCE_MASTER_KEY, settings.COMPLIANCE_MASTER_KEY_FILE = "", path
    return path


@pytest.fixture
def rotator(key_file):
    return MasterKeyRotator({})


@pytest.fixture
def guard():
    return HeldGuard()


@pytest.fixture
def current(key_file):
    return credential(master_key.ring().current.id, 1)


@pytest.fixture
def pending(rotator, current):
    return credential(rotator.generate(RULES).reveal(), 2)


def credential(key_id, number):
    return Credential("", SecretText(key_id), number)


def make_rows(count=3):
    rows = [DataKey(name=f"row-{number}") for number in range(count)]
    for row in rows:
        row.seal(SecretText(row.name))
    DataKey.objects.bulk_create(rows)


def all_open():
    return all(row.unseal().reveal() == row.name for row in DataKey.objects.all())


def first():
    return master_key.ring().current.id


def test_a_value_is_an_id_and_its_key_waits_in_the_file(rotator, current, key_file):
    value = rotator.generate(RULES)

    waiting = master_key.ring().waiting
    assert value == SecretText(waiting.id)
    assert waiting.text in key_file.read_text()
    assert first() == current.value.reveal()


def test_a_value_that_no_run_stored_is_taken_again(rotator):
    assert rotator.generate(RULES) == rotator.generate(RULES)


def test_a_whole_rotation(rotator, current, pending, guard):
    make_rows()
    assert [rotator.probe(each) for each in (pending, current)] == [REFUSED, WORKS]

    rotator.set(pending, current, guard)
    assert [rotator.probe(each) for each in (pending, current)] == [WORKS, WORKS]
    assert [(use.session, use.who) for use in rotator.in_use(current)] == [
        ("compliance_site_data_key", "3 rows")
    ]

    rotator.revoke(current, pending, guard)
    assert [rotator.probe(each) for each in (pending, current)] == [WORKS, REFUSED]
    assert rotator.in_use(current) == []
    assert [key.id for key in master_key.ring().keys] == [
        pending.value.reveal(),
        current.value.reveal(),
    ]
    assert all_open()
    assert rotator.generate(RULES) != pending.value


def test_every_step_twice_is_that_step(rotator, current, pending, guard):
    make_rows()

    for step in (
        lambda: rotator.set(pending, current, guard),
        lambda: rotator.revoke(current, pending, guard),
    ):
        step()
        once = master_key.ring(), rewrap.rows_by_key()
        step()
        assert (master_key.ring(), rewrap.rows_by_key()) == once


def test_the_first_rotation_leaves_nothing_under_the_key_before(rotator, pending, guard):
    make_rows()
    before = first()

    rotator.set(pending, None, guard)

    assert rewrap.rows_under(before) == {}
    assert all_open()


@pytest.mark.parametrize("is_known", [True, False])
def test_taking_back_a_key_under_which_rows_were_sealed(rotator, current, pending, guard, is_known):
    rotator.set(pending, current, guard)
    make_rows()

    for _ in range(2):
        rotator.discard(pending, current if is_known else None, guard)

    assert first() == current.value.reveal()
    assert [rotator.probe(each) for each in (pending, current)] == [REFUSED, WORKS]
    # A row that another process sealed under it may still be on its way.
    assert master_key.ring().find(pending.value.reveal())
    assert all_open()


def test_taking_back_a_key_that_was_never_first_removes_it(rotator, current, pending, guard):
    for _ in range(2):
        rotator.discard(pending, current, guard)

    assert len(master_key.ring().keys) == 1
    assert master_key.ring().waiting is None
    assert rotator.probe(pending) is REFUSED
    assert rotator.generate(RULES) != pending.value


@pytest.mark.parametrize("confirmations", range(4))
def test_a_revocation_that_lost_its_lease_is_carried_on(
    rotator, current, pending, guard, monkeypatch, confirmations
):
    monkeypatch.setattr(rewrap, "BATCH", 1)
    make_rows()
    rotator.set(pending, current, guard)

    with pytest.raises(LeaseLostError):
        rotator.revoke(current, pending, LostGuard(after=confirmations))

    assert all_open()
    assert rotator.probe(current) is (WORKS if confirmations < 3 else REFUSED)
    rotator.revoke(current, pending, guard)
    assert rotator.probe(current) is REFUSED
    assert all_open()


def test_nothing_happens_without_the_lease(rotator, current, pending, key_file):
    before = key_file.read_text()

    for method in (rotator.set, rotator.discard):
        with pytest.raises(LeaseLostError):
            method(pending, current, LostGuard())

    assert key_file.read_text() == before


def test_a_key_that_is_not_in_the_file_is_refused(rotator, current, guard, key_file):
    before = key_file.read_text()
    unknown = credential("feedfeedfeedfeed", 2)

    with pytest.raises(ValueRefusedError):
        rotator.set(unknown, current, guard)

    assert rotator.probe(unknown) is REFUSED
    assert key_file.read_text() == before


def test_a_file_that_is_away_leaves_it_open(rotator, current, pending, guard, key_file):
    key_file.unlink()

    assert rotator.probe(pending) is UNKNOWN
    for step in (
        lambda: rotator.generate(RULES),
        lambda: rotator.set(pending, current, guard),
        lambda: rotator.discard(pending, current, guard),
        lambda: rotator.revoke(current, pending, guard),
    ):
        with pytest.raises(TargetUnknownError, match=r"No such file|there is no /"):
            step()


def test_the_old_key_is_not_ended_when_another_one_is_first(rotator, current, pending, guard):
    make_rows()
    rotator.set(pending, current, guard)
    ring_file.put_first(MasterKey.new())

    with pytest.raises(TargetUnknownError, match="Another key is first"):
        rotator.revoke(current, pending, guard)

    assert rewrap.rows_under(current.value.reveal())


def test_rows_that_do_not_open_are_told_and_keep_the_old_key_in_use(
    rotator, current, pending, guard
):
    make_rows()
    DataKey.objects.filter(name="row-1").update(wrapped_key=b"nonsense")
    rotator.set(pending, current, guard)

    with pytest.raises(TargetUnknownError, match="1 rows are not re-wrapped yet; 1 of them"):
        rotator.revoke(current, pending, guard)

    assert rotator.probe(current) is WORKS


def test_a_lone_key_cannot_be_taken_back(rotator, pending, guard, key_file):
    rotator.set(pending, None, guard)
    key_file.write_text(Ring((master_key.ring().current,)).text)

    with pytest.raises(TargetUnknownError, match="no other master key"):
        rotator.discard(pending, None, guard)


def test_a_database_that_is_away_leaves_it_open(rotator, current, pending, guard, monkeypatch):
    rotator.set(pending, current, guard)
    connection.close()
    monkeypatch.setitem(connection.settings_dict, "PORT", "1")

    assert rotator.probe(current) is UNKNOWN
    with pytest.raises(TargetUnknownError, match="OperationalError"):
        rotator.in_use(current)
    with pytest.raises(TargetUnknownError, match="OperationalError"):
        rotator.revoke(current, pending, guard)


def test_only_a_file_is_rotated(settings):
    assert "COMPLIANCE_MASTER_KEY_FILE is not set" in MasterKeyRotator.problems({})["rotator"]

    settings.COMPLIANCE_MASTER_KEY_FILE = "/anywhere"
    assert "not both" in MasterKeyRotator.problems({})["rotator"]


def test_with_a_file_nothing_is_wrong(rotator):
    assert MasterKeyRotator.problems({}) == {}

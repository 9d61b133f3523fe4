import secrets
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compliance_site.foundation import envelope
from compliance_site.foundation.envelope import Sealed, TamperedError
from compliance_site.foundation.master_key import MasterKey, UnknownKeyError

HERE = "table|1"


@pytest.fixture
def use_ring(settings):
    def use(*keys):
        settings.COMPLIANCE_MASTER_KEY = ",".join(key.text for key in keys)

    return use


@given(st.binary(max_size=2000), st.text(st.characters(codec="utf-8")))
def test_what_is_sealed_opens_in_its_place_and_nowhere_else(plain, context):
    sealed = envelope.seal(plain, context=context)

    assert envelope.unseal(sealed, context=context) == plain
    with pytest.raises(TamperedError):
        envelope.unseal(sealed, context=f"{context}1")


def test_the_same_value_is_never_sealed_the_same_way():
    first, second = (envelope.seal(b"value", context=HERE) for _ in range(2))

    assert first.nonce != second.nonce
    assert first.wrapped_key != second.wrapped_key
    assert first.ciphertext != second.ciphertext


def spoiled(field, change):
    sealed = envelope.seal(b"a value of some length", context=HERE)
    return replace(sealed, **{field: change(getattr(sealed, field))})


@pytest.mark.parametrize("field", ["wrapped_key", "nonce", "ciphertext"])
@pytest.mark.parametrize(
    "change",
    [
        lambda value: bytes([value[0] ^ 1]) + value[1:],
        lambda value: value[:-1] + bytes([value[-1] ^ 128]),
        lambda value: value[:-1],
        lambda value: value + b"\0",
        lambda value: value[:5],
        lambda value: b"",
    ],
    ids=["first bit", "last bit", "shorter", "longer", "stump", "empty"],
)
def test_every_changed_field_is_noticed(field, change):
    with pytest.raises(TamperedError):
        envelope.unseal(spoiled(field, change), context=HERE)


@pytest.mark.parametrize("field", ["wrapped_key", "nonce", "ciphertext"])
def test_no_field_of_another_row_fits(field):
    ours, theirs = envelope.seal(b"ours", context=HERE), envelope.seal(b"them", context="table|2")

    with pytest.raises(TamperedError):
        envelope.unseal(replace(ours, **{field: getattr(theirs, field)}), context=HERE)
    with pytest.raises(TamperedError):
        envelope.unseal(theirs, context=HERE)


def test_a_row_that_names_another_key_of_the_ring_does_not_open(use_ring):
    old, new = MasterKey.new(), MasterKey.new()
    use_ring(new, old)

    with pytest.raises(TamperedError):
        envelope.unseal(spoiled("key_id", lambda _: old.id), context=HERE)
    with pytest.raises(UnknownKeyError):
        envelope.unseal(spoiled("key_id", lambda _: "0" * 16), context=HERE)


def test_a_new_first_key_seals_and_the_old_ones_still_open(use_ring):
    old, new = MasterKey.new(), MasterKey.new()
    use_ring(old)
    before = envelope.seal(b"before", context=HERE)

    use_ring(new, old)

    assert envelope.seal(b"after", context=HERE).key_id == new.id
    assert envelope.unseal(before, context=HERE) == b"before"
    use_ring(new)
    with pytest.raises(UnknownKeyError, match=old.id):
        envelope.unseal(before, context=HERE)


def test_re_wrapping_leaves_the_value_and_needs_the_old_key_no_more(use_ring):
    old, new = MasterKey.new(), MasterKey.new()
    use_ring(old)
    before = envelope.seal(b"value", context=HERE)
    use_ring(new, old)

    after = envelope.rewrap(before, context=HERE)

    assert (after.nonce, after.ciphertext) == (before.nonce, before.ciphertext)
    assert after.key_id == new.id
    use_ring(new)
    assert envelope.unseal(after, context=HERE) == b"value"


def test_a_row_in_a_wrong_place_is_not_re_wrapped_into_it():
    sealed = envelope.seal(b"value", context="table|2")

    with pytest.raises(TamperedError):
        envelope.rewrap(sealed, context=HERE)


def test_an_error_holds_neither_value_nor_key(use_ring):
    key, value = MasterKey.new(), secrets.token_hex(16)
    use_ring(key)
    sealed = envelope.seal(value.encode(), context=HERE)

    with pytest.raises(TamperedError) as caught:
        envelope.unseal(replace(sealed, ciphertext=sealed.ciphertext[:-1]), context=HERE)

    assert value not in repr(caught.value)
    assert key.text not in f"{caught.value!r}{caught.value.__cause__!r}"
    assert value not in repr(Sealed(sealed.key_id, b"", b"", b""))

import pytest

from compliance_site.foundation.data_keys import DataKey
from compliance_site.foundation.envelope import TamperedError
from compliance_site.foundation.master_key import UnknownKeyError
from compliance_site.foundation.secret_text import SecretText

pytestmark = pytest.mark.django_db


def sealed_row(name, text="välue"):
    row = DataKey(name=name)
    row.seal(SecretText(text))
    row.save()
    return DataKey.objects.get(name=name)


def test_a_row_gives_back_its_text():
    assert sealed_row("one").unseal() == SecretText("välue")
    assert sealed_row("empty", "").unseal() == SecretText("")


@pytest.mark.parametrize(
    "fields", [["ciphertext"], ["wrapped_key"], ["wrapped_key", "nonce", "ciphertext"]]
)
def test_columns_of_another_row_do_not_open(fields):
    one, two = sealed_row("one"), sealed_row("two")
    for field in fields:
        setattr(one, field, getattr(two, field))
    one.save()

    with pytest.raises(TamperedError):
        DataKey.objects.get(name="one").unseal()


def test_a_row_under_a_key_that_nobody_has_says_which():
    row = sealed_row("one")
    DataKey.objects.update(key_id="feedfeedfeedfeed")
    row.refresh_from_db()

    with pytest.raises(UnknownKeyError, match="feedfeedfeedfeed"):
        row.unseal()


def test_a_row_without_a_key_of_its_own_is_not_sealed():
    with pytest.raises(ValueError, match="primary key"):
        DataKey(name=None).seal(SecretText("value"))


def test_a_text_that_is_no_unicode_is_refused_without_showing_it():
    with pytest.raises(ValueError, match="lone surrogate") as caught:
        DataKey(name="one").seal(SecretText("value\ud800"))

    assert "value" not in repr(caught.value)
    assert caught.value.__context__ is None


def test_the_text_is_nowhere_in_the_row():
    row = sealed_row("one", "a secret value")

    assert b"a secret value" not in b"".join(
        bytes(column) for column in (row.wrapped_key, row.nonce, row.ciphertext)
    )
    assert "a secret value" not in repr(row.__dict__)

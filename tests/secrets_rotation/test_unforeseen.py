import traceback

import pytest

from secrets_rotation.exceptions import TargetUnknownError
from secrets_rotation.unforeseen import UnforeseenError, texts_withheld

VALUE = "correct-horse-battery-staple-93"


def break_with(failure):
    raise failure


def test_text_notes_and_causes_stay_behind_and_the_place_is_told():
    failure = RuntimeError(f"PASSWORD '{VALUE}'")
    failure.add_note(VALUE)
    failure.__cause__ = KeyError(VALUE)

    with pytest.raises(UnforeseenError) as raised, texts_withheld():
        break_with(failure)

    text = "".join(traceback.format_exception(raised.value))
    assert VALUE not in text
    assert "UnforeseenError: RuntimeError" in text
    assert "in break_with" in text
    assert raised.value.__suppress_context__


def test_a_group_of_errors_loses_all_their_texts():
    with pytest.raises(UnforeseenError, match=r"^ExceptionGroup$") as raised, texts_withheld():
        break_with(ExceptionGroup(VALUE, [ValueError(VALUE)]))

    assert VALUE not in "".join(traceback.format_exception(raised.value))


def test_our_own_errors_rise_as_they_are():
    own = TargetUnknownError("connection refused")

    with pytest.raises(TargetUnknownError) as raised, texts_withheld():
        break_with(own)

    assert raised.value is own

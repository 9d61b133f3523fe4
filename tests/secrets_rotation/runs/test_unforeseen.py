"""What a rotator raises that nobody foresaw: it is logged and counted, without what it says."""

import traceback

import pytest

from compliance_site.foundation.secret_text import SecretText
from secrets_rotation.models import RunState, Trigger
from secrets_rotation.runs import machine
from secrets_rotation.runs.start import start
from secrets_rotation.runs.usage import usages
from secrets_rotation.unforeseen import UnforeseenError
from tests.secrets_rotation.paper import PaperRotator

pytestmark = pytest.mark.django_db

VALUE = "correct-horse-battery-staple-93"
OTHER = "wrong-horse-battery-staple-94"


def breaking(self, credential, *others):
    raise RuntimeError(f"no such column: {credential.value.reveal()}")


def begin(secret, value=VALUE):
    return start(secret, trigger=Trigger.MANUAL, supplied=SecretText(value))


def assert_logged(caplog):
    assert_silent(caplog.text)


def assert_silent(text):
    assert "UnforeseenError: RuntimeError" in text
    assert "in breaking" in text
    assert VALUE not in text


@pytest.mark.parametrize(
    ("method", "state"), [("set", RunState.SETTING), ("probe", RunState.SETTING)]
)
def test_before_the_value_is_current(make_secret, monkeypatch, caplog, method, state):
    monkeypatch.setattr(PaperRotator, method, breaking)
    run = begin(make_secret())

    machine.advance(run.pk)

    assert_logged(caplog)
    run.refresh_from_db()
    # Free for the next attempt.
    assert (run.state, run.leased_until, run.attempts) == (state, None, 1)


@pytest.mark.parametrize("method", ["revoke", "in_use"])
def test_at_the_end_of_the_old_value(make_secret, monkeypatch, caplog, method, no_grace):
    secret = make_secret(rules=no_grace)
    machine.advance(begin(secret).pk)
    monkeypatch.setattr(PaperRotator, method, breaking)
    run = begin(secret, OTHER)

    machine.advance(run.pk)

    assert_logged(caplog)


def test_when_a_value_is_taken_back(make_secret, monkeypatch, caplog, paper_of):
    secret = make_secret()
    run = begin(secret)
    paper_of(secret).is_away = True
    machine.advance(run.pk)
    type(run).objects.filter(pk=run.pk).update(state=RunState.ROLLING_BACK)
    monkeypatch.setattr(PaperRotator, "discard", breaking)

    machine.advance(run.pk)

    assert_logged(caplog)


def test_when_somebody_asks_who_uses_the_old_value(make_secret, monkeypatch):
    secret = make_secret()
    machine.advance(begin(secret).pk)
    run = begin(secret, OTHER)
    machine.advance(run.pk)
    run.refresh_from_db()
    monkeypatch.setattr(PaperRotator, "in_use", breaking)

    with pytest.raises(UnforeseenError) as raised:
        usages(run)

    assert_silent("".join(traceback.format_exception(raised.value)))

from datetime import timedelta

import pytest
from django.utils import timezone

from audit.models import AuditLog
from secrets_rotation.exceptions import TargetUnknownError
from secrets_rotation.models import Consumer, Run, Trigger, Version, VersionValue
from secrets_rotation.rotators.base import Answer
from secrets_rotation.runs import machine
from secrets_rotation.runs.dry_run import Look, Plan, dry_run
from secrets_rotation.runs.start import start
from tests.secrets_rotation.paper import PaperRotator

pytestmark = pytest.mark.django_db


@pytest.fixture
def rotated(make_secret):
    secret = make_secret()
    machine.advance(start(secret, trigger=Trigger.MANUAL).pk)
    return secret


def test_it_says_who_would_change_what_and_who_gets_it(rotated):
    consumer = Consumer.objects.create(secret=rotated, name="billing", delivery="none")
    Consumer.objects.create(secret=rotated, name="gone", delivery="none", retired_at=timezone.now())

    found = dry_run(rotated)

    assert found.plan == Plan(
        "Paper",
        "A target of the tests.",
        "paper:DATABASE postgres_password",
        next_username="",
        generates=True,
        overlaps=True,
        verifies=True,
    )
    assert (found.current.number, found.next_number) == (1, 2)
    assert found.consumers == (consumer,)
    assert found.rules.grace == timedelta(days=7)
    assert found.look == Look(Answer.WORKS)
    assert found.can_begin


def test_it_changes_nothing(rotated, paper_of):
    def rows():
        counts = [model.objects.count() for model in (Run, Version, VersionValue, AuditLog)]
        return counts, paper_of(rotated).sets[:], set(paper_of(rotated).accepts)

    before = rows()

    dry_run(rotated)

    assert rows() == before


def test_the_next_user_is_the_rotators_choice(rotated, monkeypatch):
    Version.objects.update(username="app_a")
    monkeypatch.setattr(
        PaperRotator, "next_username", lambda self, current: current.replace("_a", "_b")
    )

    assert dry_run(rotated).plan.next_username == "app_b"


def test_a_secret_without_a_value_has_nothing_to_ask_about(make_secret):
    found = dry_run(make_secret())

    assert (found.current, found.next_number) == (None, 1)
    assert found.look == Look(None, "There is no current value yet.")
    assert found.can_begin


@pytest.mark.parametrize(("is_away", "answer"), [(True, "unknown"), (False, "refused")])
def test_silence_is_told_from_a_refusal(rotated, paper_of, is_away, answer):
    paper_of(rotated).accepts.clear()
    paper_of(rotated).is_away = is_away

    found = dry_run(rotated)

    assert found.look.answer == answer
    assert found.can_begin


def test_a_target_that_cannot_tell_says_why(rotated, monkeypatch):
    def probe(self, credential):
        raise TargetUnknownError("it checks no passwords")

    monkeypatch.setattr(PaperRotator, "probe", probe)

    assert dry_run(rotated).look == Look(Answer.UNKNOWN, "it checks no passwords")


def test_a_target_that_verifies_nothing_is_not_asked(rotated, monkeypatch):
    monkeypatch.setattr(PaperRotator, "verifies", False)

    assert dry_run(rotated).look.answer is None


def test_missing_settings_are_named_and_the_target_is_left_alone(make_secret):
    found = dry_run(make_secret(target={"nome": "x"}))

    assert found.problems == {
        "nome": "Unknown setting; did you mean name?",
        "name": "This setting is required.",
    }
    assert found.plan is None
    assert not found.can_begin


def test_an_unknown_rotator_is_a_problem(make_secret):
    found = dry_run(make_secret(rotator="papyrus"))

    assert list(found.problems) == [""]
    assert "papyrus" in found.problems[""]


def test_a_run_in_flight_is_named(make_secret):
    secret = make_secret()
    run = start(secret, trigger=Trigger.MANUAL)

    found = dry_run(secret)

    assert found.in_flight == run
    assert not found.can_begin


def test_a_retired_secret_cannot_begin(make_secret):
    assert not dry_run(make_secret(retired_at=timezone.now())).can_begin


def test_a_value_that_is_gone_is_said_to_be(rotated):
    VersionValue.objects.all().delete()

    found = dry_run(rotated)

    assert found.look.answer is None
    assert "cannot be opened here" in found.look.reason

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connections
from django.utils import timezone

from audit.capture.actors import Actor, acting_as
from compliance_site.foundation.secret_text import SecretText
from secrets_rotation.exceptions import (
    IdempotencyError,
    RunInFlightError,
    SecretRetiredError,
    ValueNeededError,
    ValueUnfitError,
)
from secrets_rotation.models import Run, RunState, Trigger, Version
from secrets_rotation.runs import machine
from secrets_rotation.runs import start as start_module
from secrets_rotation.runs.start import start
from tests.secrets_rotation.paper import PaperRotator

STRONG = SecretText("correct-horse-battery-staple-93")


def begin(secret, **arguments):
    return start(secret, trigger=Trigger.MANUAL, **arguments)


@pytest.mark.django_db
def test_the_pending_value_is_sealed_and_the_target_untouched(make_secret, paper_of):
    secret = make_secret()

    run = begin(secret, supplied=STRONG)

    assert run.state == RunState.PENDING
    assert run.version.value.unseal() == STRONG
    assert STRONG.reveal().encode() not in bytes(run.version.value.ciphertext)
    assert paper_of(secret).sets == []


@pytest.mark.django_db
def test_a_second_run_is_refused_and_names_the_first(make_secret):
    secret = make_secret()
    run = begin(secret)

    with pytest.raises(RunInFlightError) as refused:
        begin(secret)

    assert refused.value.run_id == run.pk
    assert Version.objects.count() == 1


@pytest.mark.django_db
def test_the_same_key_asks_for_the_same_run_even_after_its_end(make_secret):
    secret = make_secret()
    run = begin(secret, supplied=STRONG, idempotency_key="k1")
    machine.advance(run.pk)

    assert begin(secret, supplied=STRONG, idempotency_key="k1") == run
    assert Run.objects.count() == 1


@pytest.mark.django_db
def test_a_key_with_another_request_is_refused(make_secret):
    secret = make_secret()
    begin(secret, supplied=STRONG, idempotency_key="k1")

    with pytest.raises(IdempotencyError):
        begin(secret, idempotency_key="k1")


@pytest.mark.django_db
def test_another_callers_key_is_another_key(make_secret):
    machine.advance(begin(make_secret("one"), idempotency_key="k1").pk)

    with acting_as(Actor("user", "oscar", user_id=8)):
        run = begin(make_secret("two"), idempotency_key="k1")

    assert run.secret.name == "two"


@pytest.mark.django_db
def test_a_retired_secret_does_not_rotate(make_secret):
    with pytest.raises(SecretRetiredError):
        begin(make_secret(retired_at=timezone.now()))


@pytest.mark.django_db
def test_a_value_that_the_console_cannot_make_must_be_supplied(make_secret, monkeypatch):
    monkeypatch.setattr(PaperRotator, "generates", False)

    with pytest.raises(ValueNeededError):
        begin(make_secret())


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("value", "rule"),
    [
        ("short-1A", "length"),
        ("x" * 300, "length"),
        ("passwordpassword", "strength"),
        ("postgres_password", "strength"),
        ("correct horse battery\nstaple", "signs"),
        (" correct-horse-battery-staple", "signs"),
        ("correct-horse-battery-stäple", "signs"),
    ],
)
def test_an_unfit_value_is_refused_by_the_rule_it_breaks(make_secret, value, rule):
    with pytest.raises(ValueUnfitError) as refused:
        begin(make_secret(), supplied=SecretText(value))

    assert refused.value.rule == rule
    assert value not in str(refused.value)
    assert not Version.objects.exists()


@pytest.mark.django_db
def test_a_value_is_not_used_again_though_it_is_gone(make_secret, no_grace):
    secret = make_secret(rules=no_grace)
    machine.advance(begin(secret, supplied=STRONG).pk)
    machine.advance(begin(secret).pk)

    with pytest.raises(ValueUnfitError) as refused:
        begin(secret, supplied=STRONG)

    assert refused.value.rule == "reuse"


@pytest.mark.django_db
def test_what_the_history_does_not_remember_may_come_back(make_secret, no_grace):
    secret = make_secret(rules=no_grace | {"history_length": 1})
    machine.advance(begin(secret, supplied=STRONG).pk)
    machine.advance(begin(secret).pk)

    assert begin(secret, supplied=STRONG).state == RunState.PENDING


@pytest.mark.django_db
def test_a_key_that_another_lock_let_through_is_refused(make_secret, monkeypatch):
    begin(make_secret("one"), idempotency_key="k1")
    looked = iter([lambda *_: None])
    seen = start_module._same_request
    monkeypatch.setattr(start_module, "_same_request", lambda *given: next(looked, seen)(*given))

    with pytest.raises(IdempotencyError):
        begin(make_secret("two"), idempotency_key="k1")

    assert Run.objects.count() == 1


def test_fifty_at_once_begin_one_run(committed_db, make_secret):
    secret = make_secret()

    def post(_):
        try:
            with acting_as(Actor("user", "olivia", user_id=7)):
                return begin(secret).pk
        except RunInFlightError as exc:
            return exc.run_id
        finally:
            connections.close_all()

    with ThreadPoolExecutor(50) as pool:
        runs = set(pool.map(post, range(50)))

    assert len(runs) == Run.objects.count() == 1

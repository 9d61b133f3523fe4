from datetime import timedelta

import pytest
from django.utils import timezone

from audit.models import AuditLog
from compliance_site.foundation.secret_text import SecretText
from secrets_rotation.exceptions import (
    PendingWorksError,
    RunStateError,
    TargetUnknownError,
    ValueUnfitError,
)
from secrets_rotation.models import (
    Consumer,
    PolicyOverride,
    Rotation,
    Run,
    RunState,
    Secret,
    Trigger,
    Version,
    VersionState,
    VersionValue,
)
from secrets_rotation.runs import actions, machine
from secrets_rotation.runs.start import start
from tests.secrets_rotation.paper import PaperRotator

pytestmark = pytest.mark.django_db

STRONG = SecretText("correct-horse-battery-staple-93")


def rotate(secret, **arguments):
    run = start(secret, trigger=Trigger.MANUAL, **arguments)
    return carry_on(run)


def carry_on(run):
    machine.advance(run.pk)
    run.refresh_from_db()
    return run


def later(run):
    """Let the run's wait be over."""
    Run.objects.filter(pk=run.pk).update(next_attempt_at=timezone.now() - timedelta(seconds=1))
    return carry_on(run)


def states(secret):
    return dict(secret.versions.values_list("number", "state"))


def value_of(version):
    return version.value.unseal().reveal()


def test_the_first_value_becomes_current_and_ends_its_run(make_secret, paper_of):
    secret = make_secret()

    run = rotate(secret)

    assert run.state == RunState.REVOKED
    assert states(secret) == {1: "current"}
    assert paper_of(secret).accepts == {value_of(run.version)}
    secret.refresh_from_db()
    assert secret.last_rotated_at is not None


def test_the_old_value_works_through_the_grace_and_not_after_it(make_secret, paper_of):
    secret = make_secret()
    first = rotate(secret)
    old = value_of(first.version)

    run = rotate(secret)

    assert run.state == RunState.GRACE
    assert run.grace_until - run.started_at >= timedelta(days=7)
    assert states(secret) == {1: "previous", 2: "current"}
    assert paper_of(secret).accepts == {old, value_of(run.version)}

    assert later(run).state == RunState.GRACE
    Run.objects.filter(pk=run.pk).update(grace_until=timezone.now())
    assert later(run).state == RunState.REVOKED
    assert states(secret) == {1: "revoked", 2: "current"}
    assert paper_of(secret).accepts == {value_of(run.version)}
    assert not VersionValue.objects.filter(version=first.version).exists()


def test_without_grace_one_call_goes_to_the_end(make_secret, paper_of, no_grace):
    secret = make_secret(rules=no_grace)
    rotate(secret)

    run = rotate(secret)

    assert run.state == RunState.REVOKED
    assert paper_of(secret).accepts == {value_of(run.version)}


def test_a_lost_answer_is_not_set_again(make_secret, paper_of):
    secret = make_secret()
    paper_of(secret).loses_answers = True

    run = rotate(secret)
    assert (run.state, run.attempts) == (RunState.SETTING, 1)

    assert later(run).state == RunState.REVOKED
    assert len(paper_of(secret).sets) == 1


def test_silence_is_never_taken_for_a_refusal(make_secret, paper_of, settings):
    settings.ROTATION_ATTEMPTS = 2
    secret = make_secret()
    rotate(secret)
    paper_of(secret).is_away = True

    run = rotate(secret)
    assert run.state == RunState.SETTING
    assert run.next_attempt_at > timezone.now()
    later(run)
    run = later(run)

    assert run.state == RunState.ATTENTION
    assert run.reason == "Given up after 2 attempts: The target does not answer."
    assert len(paper_of(secret).sets) == 1
    assert states(secret) == {1: "current", 2: "pending"}

    paper_of(secret).is_away = False
    actions.resume(run)
    assert carry_on(run).state == RunState.GRACE


def test_a_target_that_refuses_both_is_set_anew_with_an_alarm(make_secret, paper_of):
    secret = make_secret()
    rotate(secret)
    paper_of(secret).accepts.clear()

    run = rotate(secret)

    assert run.state == RunState.GRACE
    assert [step.text for step in run.steps.filter(is_trouble=True)] == [
        "The target refuses the current value too: someone else changed it. Setting anew."
    ]


def test_a_generated_value_that_the_target_refuses_is_made_anew_once(make_secret, paper_of):
    secret = make_secret()
    rotate(secret)
    paper_of(secret).refuses_rule = "passwordcheck"

    run = rotate(secret)

    assert run.state == RunState.ROLLED_BACK
    assert run.reason == "The target refused the value: passwordcheck."
    assert states(secret) == {1: "current", 2: "discarded", 3: "discarded"}
    assert len(paper_of(secret).sets) == 1


def test_a_supplied_value_that_the_target_refuses_goes_back(make_secret, paper_of):
    secret = make_secret()
    paper_of(secret).refuses_rule = "passwordcheck"

    run = rotate(secret, supplied=STRONG)

    assert run.state == RunState.ROLLED_BACK
    assert states(secret) == {1: "discarded"}


def test_a_value_that_does_not_open_the_target_is_rolled_back(make_secret, paper_of):
    secret = make_secret()
    first = rotate(secret)
    paper_of(secret).ignores_sets = True

    run = rotate(secret)
    for _ in range(3):
        run = later(run)

    assert run.state == RunState.ROLLED_BACK
    assert states(secret) == {1: "current", 2: "discarded"}
    assert paper_of(secret).accepts == {value_of(first.version)}


def test_the_grace_does_not_end_while_a_session_of_the_old_value_is_open(
    make_secret, paper_of, no_grace
):
    secret = make_secret(rules=no_grace)
    rotate(secret)
    paper_of(secret).sessions.append("4711")

    run = rotate(secret)
    assert (run.state, run.reason) == (
        RunState.REVOKING,
        "1 sessions of the old value are still open.",
    )

    paper_of(secret).sessions.clear()
    assert later(run).state == RunState.REVOKED


def test_every_step_is_an_audit_event_and_none_holds_a_value(make_secret):
    secret = make_secret()

    run = rotate(secret)

    logs = AuditLog.objects.filter(action="ROTATE", resource=f"/secrets/rotation/runs/{run.pk}")
    assert logs.count() == run.steps.count() == 6
    value = value_of(run.version)
    assert not [log for log in logs if value in log.details]
    assert Rotation.objects.get(run=run).rotated_by == 7


def test_a_run_under_lease_is_left_alone(make_secret):
    run = start(make_secret(), trigger=Trigger.MANUAL)
    Run.objects.update(leased_until=timezone.now() + timedelta(minutes=1), fence=9)

    assert not machine.advance(run.pk)

    run.refresh_from_db()
    assert (run.state, run.fence) == (RunState.PENDING, 9)


def test_an_ended_run_is_left_alone(make_secret):
    run = rotate(make_secret())

    assert not machine.advance(run.pk)


def test_a_run_waits_while_another_one_works_on_the_same_principal(make_secret):
    one = make_secret("one")
    other = make_secret("other", target=one.target)
    first = start(one, trigger=Trigger.MANUAL)
    lease = machine.Lease.take(first.pk)
    assert lease.take_principal("paper:DATABASE one")

    run = rotate(other)
    assert run.state == RunState.PENDING
    assert run.steps.count() == 1

    lease.release()
    assert carry_on(run).state == RunState.REVOKED


def test_roll_back_takes_the_pending_value_back(make_secret, paper_of, settings):
    settings.ROTATION_ATTEMPTS = 0
    secret = make_secret()
    first = rotate(secret)
    paper_of(secret).is_away = True
    run = rotate(secret)
    assert run.state == RunState.ATTENTION
    paper_of(secret).is_away = False

    actions.roll_back(run)

    assert carry_on(run).state == RunState.ROLLED_BACK
    assert paper_of(secret).accepts == {value_of(first.version)}


def test_adopt_verifies_the_value_that_a_person_brings(make_secret, paper_of, settings):
    settings.ROTATION_ATTEMPTS = 0
    secret = make_secret()
    rotate(secret)
    paper_of(secret).is_away = True
    run = rotate(secret)
    paper_of(secret).is_away = False
    paper_of(secret).accepts.add(STRONG.reveal())

    actions.adopt(run, STRONG)

    assert carry_on(run).state == RunState.GRACE
    assert value_of(Version.objects.get(secret=secret, state=VersionState.CURRENT)) == (
        STRONG.reveal()
    )


@pytest.mark.parametrize("action", [actions.resume, actions.adopt, actions.roll_back])
def test_what_cannot_be_decided_in_a_state_is_refused(make_secret, action):
    secret = make_secret()
    rotate(secret)
    run = rotate(secret)

    with pytest.raises(actions.RunStateError, match="A run in GRACE cannot be"):
        action(run)

    assert carry_on(run).state == RunState.GRACE


def test_the_grace_can_be_ended_early(make_secret):
    secret = make_secret()
    rotate(secret)
    run = rotate(secret)

    actions.end_grace(run)

    assert carry_on(run).state == RunState.REVOKED


def test_an_override_of_the_grace_holds(make_secret):
    secret = make_secret()
    PolicyOverride.objects.create(secret=secret, grace=timedelta(hours=2))
    rotate(secret)

    run = rotate(secret)

    assert run.grace_until - run.set_at < timedelta(hours=3)


def stuck(secret, paper, settings):
    """Return a run that waits for a person because its target was away."""
    settings.ROTATION_ATTEMPTS = 0
    paper.is_away = True
    run = rotate(secret)
    paper.is_away = False
    assert run.state == RunState.ATTENTION
    return run


def test_the_current_value_cannot_be_adopted_as_the_new_one(make_secret, paper_of, settings):
    secret = make_secret()
    rotate(secret, supplied=STRONG)
    run = stuck(secret, paper_of(secret), settings)

    # It would be revoked as the old one, and nothing would work any more.
    with pytest.raises(ValueUnfitError) as refused:
        actions.adopt(run, STRONG)

    assert refused.value.rule == "reuse"
    run.refresh_from_db()
    assert (run.state, run.leased_until) == (RunState.ATTENTION, None)


def test_a_pending_value_that_the_target_takes_is_not_forgotten(make_secret, paper_of, settings):
    secret = make_secret()
    rotate(secret)
    run = stuck(secret, paper_of(secret), settings)
    paper_of(secret).accepts |= {value_of(run.version), STRONG.reveal()}

    with pytest.raises(PendingWorksError):
        actions.adopt(run, STRONG)
    paper_of(secret).is_away = True
    with pytest.raises(TargetUnknownError):
        actions.adopt(run, STRONG)

    paper_of(secret).is_away = False
    actions.adopt(run, run.version.value.unseal())
    assert carry_on(run).state == RunState.GRACE


def test_what_cannot_be_rolled_back_can_still_be_adopted(make_secret, paper_of, settings):
    secret = make_secret()
    rotate(secret)
    run = stuck(secret, paper_of(secret), settings)
    paper_of(secret).accepts = {STRONG.reveal()}
    actions.roll_back(run)
    run = carry_on(run)
    assert (run.state, run.halted_in) == (RunState.ATTENTION, RunState.ROLLING_BACK)

    actions.adopt(run, STRONG)

    assert carry_on(run).state == RunState.GRACE


def test_a_run_that_never_began_ends_though_nobody_knows_its_rotator(make_secret):
    secret = make_secret()
    run = start(secret, trigger=Trigger.MANUAL)
    Secret.objects.update(rotator="gone")
    run = carry_on(run)
    assert (run.state, run.halted_in) == (RunState.ATTENTION, RunState.PENDING)

    actions.roll_back(run)

    run.refresh_from_db()
    assert run.state == RunState.ROLLED_BACK
    assert states(secret) == {1: "discarded"}


def test_a_value_that_works_is_known_however_many_others_were_discarded(make_secret, paper_of):
    secret = make_secret(rules={"history_length": 1})
    rotate(secret, supplied=STRONG)
    paper_of(secret).refuses_rule = "passwordcheck"
    rotate(secret)

    with pytest.raises(ValueUnfitError) as refused:
        start(secret, trigger=Trigger.MANUAL, supplied=STRONG)

    assert refused.value.rule == "reuse"


def test_a_value_that_never_became_current_may_be_brought_again(make_secret, paper_of):
    secret = make_secret()
    paper_of(secret).refuses_rule = "passwordcheck"
    rotate(secret, supplied=STRONG)
    paper_of(secret).refuses_rule = ""

    assert rotate(secret, supplied=STRONG).state == RunState.REVOKED


def test_a_consumer_that_is_away_does_not_keep_the_old_value_for_ever(make_secret, paper_of):
    secret = make_secret()
    first = rotate(secret)
    old = value_of(first.version)
    Consumer.objects.create(secret=secret, name="billing", delivery="webhook")
    run = rotate(secret)
    assert run.state == RunState.DISTRIBUTING

    actions.end_grace(run)

    assert carry_on(run).state == RunState.REVOKED
    assert old not in paper_of(secret).accepts
    assert run.steps.filter(text__endswith="by decision. Not delivered to: billing.").exists()


def test_a_first_value_has_no_grace_to_end(make_secret):
    secret = make_secret()
    Consumer.objects.create(secret=secret, name="billing", delivery="webhook")
    run = rotate(secret)

    with pytest.raises(RunStateError):
        actions.end_grace(run)

    assert carry_on(run).state == RunState.DISTRIBUTING


def test_a_first_value_says_what_the_console_cannot_end(make_secret):
    run = rotate(make_secret())

    assert run.steps.last().text == (
        "There was no earlier value to end. "
        "What the target accepted before, the console does not know: end it there."
    )


def test_nothing_is_said_of_a_target_that_cannot_be_asked(make_secret, monkeypatch, no_grace):
    monkeypatch.setattr(PaperRotator, "verifies", False)
    secret = make_secret(rules=no_grace)
    rotate(secret)

    run = rotate(secret)

    assert run.state == RunState.REVOKED
    assert "is refused" not in run.steps.last().text


def test_a_rotator_that_breaks_is_counted_and_ends_with_a_person(
    make_secret, monkeypatch, settings
):
    settings.ROTATION_ATTEMPTS = 1
    secret = make_secret()
    rotate(secret)

    def broken(*arguments):
        raise KeyError("correct-horse")

    monkeypatch.setattr(PaperRotator, "set", broken)
    run = later(rotate(secret))

    assert run.state == RunState.ATTENTION
    assert run.reason == "Given up after 1 attempts: The console's rotator broke: KeyError."
    assert states(secret) == {1: "current", 2: "pending"}

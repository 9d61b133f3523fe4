import pytest

from audit.capture.actors import Actor, acting_as
from compliance_site.foundation.secret_text import SecretText
from secrets_rotation import break_glass
from secrets_rotation.break_glass import Selection
from secrets_rotation.exceptions import (
    BreakGlassStateError,
    FourEyesError,
    NothingSelectedError,
    RunStateError,
)
from secrets_rotation.models import BreakGlassState, Rotation, Run, RunState, TargetCredential
from secrets_rotation.runs import machine
from secrets_rotation.runs.start import Trigger, start

pytestmark = pytest.mark.django_db

LEAKED = {"reason": "The vault's backup leaked.", "is_without_grace": True}


@pytest.fixture
def approver():
    return acting_as(Actor("user", "oscar", user_id=8))


def ask(selection=None, **overrides):
    return break_glass.request(selection or Selection(tag="prod"), **LEAKED | overrides)


def carry_on():
    for run_id in break_glass.carry_on():
        machine.advance(run_id)


def tagged(make_secret, *names, **fields):
    return [make_secret(name, tags=["prod"], **fields) for name in names]


def test_every_secret_of_a_tag_is_rotated_and_reported(make_secret, approver):
    secrets = tagged(make_secret, "one", "two")
    make_secret("other")
    for secret in secrets:
        machine.advance(start(secret, trigger=Trigger.MANUAL).pk)

    emergency = ask()
    assert break_glass.carry_on() == []
    with approver:
        break_glass.approve(emergency)
    carry_on()

    break_glass.carry_on()
    emergency.refresh_from_db()
    assert emergency.state == BreakGlassState.DONE
    assert break_glass.progress(emergency) == {
        "rotated": 2,
        "underWay": 0,
        "waiting": 0,
        "needsPerson": 0,
    }
    runs = Run.objects.filter(trigger=Trigger.BREAK_GLASS)
    assert {run.secret for run in runs} == set(secrets)
    assert {run.state for run in runs} == {RunState.REVOKED}
    # Whoever approved it answers for it.
    assert {rotation.rotated_by for rotation in Rotation.objects.filter(run__in=runs)} == {8}


def test_who_asked_cannot_approve(make_secret):
    tagged(make_secret, "one")
    emergency = ask()

    with pytest.raises(FourEyesError):
        break_glass.approve(emergency)

    assert break_glass.carry_on() == []


def test_a_decision_is_made_once(make_secret, approver):
    tagged(make_secret, "one")
    emergency = ask()
    break_glass.reject(emergency)

    with approver, pytest.raises(BreakGlassStateError):
        break_glass.approve(emergency)

    assert break_glass.carry_on() == []


def test_nothing_selected_is_refused(make_secret):
    make_secret("other")

    with pytest.raises(NothingSelectedError, match="No secret has tag prod"):
        ask()


def test_tasks_do_not_ask(make_secret):
    tagged(make_secret, "one")

    with acting_as(Actor("task", "tick")), pytest.raises(FourEyesError):
        ask()


def test_what_others_depend_on_comes_first(make_secret, approver, paper_of):
    database, api = tagged(make_secret, "database", "api")
    api.depends_on.add(database)
    paper_of(database).is_away = True
    emergency = ask()
    with approver:
        break_glass.approve(emergency)

    carry_on()
    carry_on()
    assert [run.secret for run in Run.objects.all()] == [database]

    paper_of(database).is_away = False
    machine.advance(Run.objects.get().pk)
    carry_on()
    assert {run.secret for run in Run.objects.all()} == {database, api}


def test_an_earlier_grace_makes_way(make_secret, approver):
    (secret,) = tagged(make_secret, "one")
    machine.advance(start(secret, trigger=Trigger.MANUAL).pk)
    earlier = start(secret, trigger=Trigger.MANUAL)
    machine.advance(earlier.pk)
    emergency = ask()
    with approver:
        break_glass.approve(emergency)

    carry_on()
    carry_on()

    earlier.refresh_from_db()
    assert earlier.state == RunState.REVOKED
    assert Run.objects.get(trigger=Trigger.BREAK_GLASS).state == RunState.REVOKED


def test_what_the_console_cannot_rotate_is_named_and_holds_nobody_up(
    make_secret, approver, monkeypatch
):
    supplied, other = tagged(make_secret, "supplied", "other")
    other.depends_on.add(supplied)
    monkeypatch.setattr(
        break_glass, "start", lambda secret, **rest: refusing(secret, supplied, **rest)
    )
    emergency = ask()
    with approver:
        break_glass.approve(emergency)

    carry_on()
    carry_on()
    break_glass.carry_on()

    assert break_glass.progress(emergency)["needsPerson"] == 1
    assert emergency.members.get(secret=supplied).obstacle.startswith("The console cannot make")
    emergency.refresh_from_db()
    assert emergency.state == BreakGlassState.DONE


def refusing(secret, supplied, **rest):
    if secret == supplied:
        raise break_glass.RotationError("The console cannot make this value: supply it.")
    return start(secret, **rest)


def test_the_api_needs_two_people(make_secret, api_as):
    tagged(make_secret, "one")
    first, second = api_as("security_officer", "first"), api_as("security_officer", "second")
    body = {"tag": "prod", "reason": "Leak", "withoutGrace": True}

    answer = first.post("/secrets/break-glass", body)

    assert answer.status_code == 201
    id = answer.json()["id"]
    assert first.post(f"/secrets/break-glass/{id}/approve").status_code == 403
    assert second.post(f"/secrets/break-glass/{id}/approve").json()["state"] == "rotating"
    carry_on()
    carry_on()
    report = first.get(f"/secrets/break-glass/{id}").json()
    assert report["state"] == "done"
    assert [row["state"] for row in report["secrets"]] == ["REVOKED"]
    assert first.post(f"/secrets/break-glass/{id}/reject").status_code == 409
    assert len(first.get("/secrets/break-glass").json()["breakGlass"]) == 1


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"reason": "Leak"}, 400),
        ({"reason": "Leak", "tag": "prod", "secretType": "DATABASE"}, 400),
        ({"tag": "prod"}, 400),
        ({"reason": "Leak", "tag": "nothing"}, 404),
    ],
)
def test_bad_requests_are_refused(make_secret, api_as, body, status):
    tagged(make_secret, "one")

    assert api_as("security_officer").post("/secrets/break-glass", body).status_code == status


def approved(approver, **overrides):
    emergency = ask(**overrides)
    with approver:
        break_glass.approve(emergency)
    return emergency


def test_a_run_that_was_begun_before_a_kill_is_the_members_run(make_secret, approver):
    tagged(make_secret, "one")
    emergency = approved(approver, is_without_grace=False)
    break_glass.carry_on()
    # Killed between the two: the run is there, the member does not know of it.
    emergency.members.update(run=None)

    carry_on()
    machine.advance(Run.objects.get().pk)
    break_glass.carry_on()

    emergency.refresh_from_db()
    assert emergency.state == BreakGlassState.DONE
    assert Run.objects.get().break_glass_member.break_glass == emergency


def test_a_secret_whose_settings_do_not_open_holds_nobody_up(make_secret, approver):
    damaged, other = tagged(make_secret, "damaged", "other")
    credential = TargetCredential(secret=damaged)
    credential.seal(SecretText("{}"))
    credential.key_id = "0" * 16
    credential.save(force_insert=True)
    emergency = approved(approver)

    carry_on()
    break_glass.carry_on()

    emergency.refresh_from_db()
    assert emergency.state == BreakGlassState.DONE
    obstacle = emergency.members.get(secret=damaged).obstacle
    assert obstacle.startswith("No master key 0000000000000000")
    assert emergency.members.get(secret=other).run.state == RunState.REVOKED


def test_a_grace_that_ends_by_itself_meanwhile_is_no_trouble(make_secret, approver, monkeypatch):
    (secret,) = tagged(make_secret, "one")
    machine.advance(start(secret, trigger=Trigger.MANUAL).pk)
    earlier = start(secret, trigger=Trigger.MANUAL)
    machine.advance(earlier.pk)
    approved(approver)

    def too_late(run):
        raise RunStateError("ended early", RunState.REVOKING)

    monkeypatch.setattr(break_glass.actions, "end_grace", too_late)

    assert break_glass.carry_on() == [earlier.pk]


def test_an_earlier_run_that_waits_for_a_person_is_said(make_secret, approver):
    (secret,) = tagged(make_secret, "one")
    start(secret, trigger=Trigger.MANUAL)
    Run.objects.update(state=RunState.ATTENTION, halted_in=RunState.SETTING)
    emergency = approved(approver)

    carry_on()

    assert break_glass.progress(emergency)["needsPerson"] == 1


def test_what_can_begin_is_found_by_as_many_queries_however_many_there_are(
    make_secret, approver, django_assert_max_num_queries
):
    tagged(make_secret, *(f"secret-{number}" for number in range(20)))
    emergency = approved(approver)

    with django_assert_max_num_queries(3):
        assert len(break_glass._ready(emergency)) == 20

from datetime import timedelta

import pytest
from django.utils import timezone

from secrets_rotation.models import Acknowledgement, Delivery, Run, RunState, Trigger
from secrets_rotation.runs import machine
from secrets_rotation.runs.lease import Lease
from secrets_rotation.runs.start import start
from tests.secrets_rotation.admin.conftest import MARKER, STRONG, text_of, title_of

pytestmark = pytest.mark.django_db

RUNS = "/admin/secrets_rotation/run/"


def address(run, page="change"):
    return f"{RUNS}{run.pk}/{page}/"


def tones(answer):
    return {station.state: station.tone for station in answer.context["way"]}


def offered(answer):
    return [decision.address for decision in answer.context["offered"]]


@pytest.fixture
def halted(make_secret, paper_of, settings):
    """A run that stopped before the new value was current and needs a person."""
    settings.ROTATION_ATTEMPTS = 0
    secret = make_secret()
    machine.advance(start(secret, trigger=Trigger.MANUAL).pk)
    paper_of(secret).is_away = True
    run = start(secret, trigger=Trigger.MANUAL)
    machine.advance(run.pk)
    paper_of(secret).is_away = False
    run.refresh_from_db()
    assert run.state == RunState.ATTENTION
    return run


def test_a_run_shows_its_steps_its_way_and_what_it_waits_for(reader, rotated):
    run = rotated(times=2)

    answer = reader.get(address(run))

    page = text_of(answer)
    assert title_of(answer).startswith("Version 2 is in use; the old value works until")
    assert page.count("<time") >= run.steps.count() >= 6
    assert tones(answer)["GRACE"] == "now"
    assert tones(answer)["REVOKED"] == "ahead"
    assert "the end of the grace in 6 days" in page
    assert offered(answer) == ["end-grace"]
    assert 'data-refresh="30"' in page


def test_trouble_is_told_by_a_word_beside_its_colour(reader, halted):
    answer = reader.get(address(halted))

    page = text_of(answer)
    assert title_of(answer) == "Needs a decision: it stopped in SETTING"
    assert '<span class="chip bad">trouble</span>' in page
    assert tones(answer)["SETTING"] == "halted"
    assert "A security officer decides." in page
    assert offered(answer) == ["resume", "adopt", "roll-back"]


def test_only_an_officer_is_offered_decisions(reader, officer, halted):
    assert "/roll-back/" not in text_of(reader.get(address(halted)))
    assert "/roll-back/" in text_of(officer.get(address(halted)))


def test_what_ended_is_not_looked_at_again(reader, rotated):
    answer = reader.get(address(rotated()))

    assert 'data-refresh="0"' in text_of(answer)
    assert set(tones(answer).values()) == {"done"}


def test_a_run_that_works_is_looked_at_soon(reader, make_secret):
    run = start(make_secret(), trigger=Trigger.MANUAL)

    answer = reader.get(address(run, "live"))

    assert 'data-refresh="2"' in text_of(answer)
    assert "<html" not in text_of(answer)
    assert title_of(answer) == "Under way: the new value is sealed, the target untouched"


def test_the_target_is_asked_for_sessions_only_on_demand(reader, rotated, paper_of):
    run = rotated(times=2)
    paper_of(run.secret).sessions.append("4711")

    assert "4711" not in text_of(reader.get(address(run)))
    assert "4711" in text_of(reader.get(address(run), {"sessions": 1}))
    paper_of(run.secret).is_away = True
    assert "nobody answers" in text_of(reader.get(address(run), {"sessions": 1}))


def test_nothing_is_decided_by_looking(officer, halted):
    page = text_of(officer.get(address(halted, "roll-back")))

    halted.refresh_from_db()
    assert halted.state == RunState.ATTENTION
    assert "never becomes current" in page


@pytest.mark.parametrize(
    ("decision", "state"),
    [("resume", "GRACE"), ("roll-back", "ROLLED_BACK"), ("adopt", "ATTENTION")],
)
def test_a_decision_is_made_and_the_run_goes_on(officer, halted, decision, state):
    answer = officer.post(address(halted, decision), {"name": halted.secret.name})

    assert answer.headers["Location"] == address(halted)
    halted.refresh_from_db()
    assert halted.state == state


def test_a_value_is_adopted_and_never_shown(officer, halted, paper_of):
    paper_of(halted.secret).accepts.add(STRONG)
    form = {"name": halted.secret.name, "new_value": STRONG}

    page = text_of(officer.post(address(halted, "adopt"), form, follow=True))

    halted.refresh_from_db()
    assert halted.state == RunState.GRACE
    assert MARKER not in page


def test_a_value_does_not_come_back_when_the_name_is_wrong(officer, halted):
    form = {"name": "another", "new_value": STRONG}

    page = text_of(officer.post(address(halted, "adopt"), form))

    assert "That is not the name" in page
    assert MARKER not in page


def test_the_grace_is_ended_once_the_name_is_typed(officer, rotated, make_consumer):
    run = rotated(times=2)
    make_consumer(run.secret)

    page = text_of(officer.get(address(run, "end-grace")))
    assert "<b>billing</b> has not said that it uses version 2" in page
    officer.post(address(run, "end-grace"), {"name": ""})
    run.refresh_from_db()
    assert run.state == RunState.GRACE

    officer.post(address(run, "end-grace"), {"name": run.secret.name})
    run.refresh_from_db()
    assert run.state == RunState.REVOKED


def test_what_cannot_be_decided_now_leads_back_to_the_run(officer, rotated):
    run = rotated()

    answer = officer.post(address(run, "end-grace"), {"name": run.secret.name}, follow=True)

    assert "A run in REVOKED cannot be changed in this way: end grace now." in text_of(answer)
    assert officer.get(address(run, "explode")).status_code == 404


def test_a_run_under_lease_says_to_try_again(officer, rotated):
    run = rotated(times=2)
    Lease.take(run.pk)

    answer = officer.post(address(run, "end-grace"), {"name": run.secret.name}, follow=True)

    assert "try again in a moment" in text_of(answer)


def test_the_list_narrows_to_a_state(reader, rotated, halted):
    ended = rotated("other")

    def listed(state):
        return [run.pk for run in reader.get(RUNS, {"state": state}).context["runs"]]

    assert title_of(reader.get(RUNS)) == "1 run needs a decision"
    assert listed("REVOKED")[0] == ended.pk
    assert listed("in-flight") == [halted.pk]
    assert len(listed("")) == 3


def test_the_grace_dashboard_names_who_is_missing_and_what_fails(reader, rotated, make_consumer):
    run = rotated(times=2)
    done, failing = make_consumer(run.secret), make_consumer(run.secret, "reports")
    Acknowledgement.objects.create(
        consumer=done, version=run.version, actor_type="user", actor="olivia"
    )
    Delivery.objects.create(consumer=failing, version=run.version, error="It answered 503.")

    answer = reader.get(f"{RUNS}grace/")

    page = text_of(answer)
    (grace,) = answer.context["graces"]
    assert title_of(answer) == "One old value still works"
    assert "1 waits for consumers" in page
    assert (grace.acknowledged, [row.consumer.name for row in grace.missing]) == (1, ["reports"])
    assert [row.consumer.name for row in grace.failing] == ["reports"]
    assert "It answered 503." in page
    assert "End grace now" not in page


def test_how_much_of_the_grace_has_passed_is_drawn(officer, rotated):
    run = rotated(times=2)
    Run.objects.filter(pk=run.pk).update(grace_until=timezone.now() + timedelta(days=3.5))

    answer = officer.get(f"{RUNS}grace/")

    assert answer.context["graces"][0].share == 50
    assert "50 % of the grace has passed" in text_of(answer)
    assert "End grace now" in text_of(answer)


def test_without_a_grace_the_dashboard_says_so(reader, rotated):
    rotated()

    assert title_of(reader.get(f"{RUNS}grace/")) == "No old value works any more"

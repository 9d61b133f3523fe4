import json
import re

import pytest
from django.test import Client

from audit.capture.actors import Actor, acting_as
from audit.models import AuditLog
from compliance_site.foundation.roles import Role
from secrets_rotation import break_glass, tasks
from secrets_rotation.break_glass import Selection
from secrets_rotation.models import BreakGlass, BreakGlassState, Run, RunState, Trigger
from secrets_rotation.runs import machine
from secrets_rotation.runs.start import start
from tests.secrets_rotation.admin.conftest import MARKER, text_of, title_of

pytestmark = pytest.mark.django_db

BASE = "/admin/secrets_rotation/breakglass/"
ASK = f"{BASE}ask/"
FORM = {"selection": "tag:prod", "reason": "The vault's backup leaked.", "is_without_grace": "on"}
FORBIDDEN = (
    r"<style|\sstyle=|\son[a-z]+=\"|<script(?![^>]*\ssrc=)[^>]*>|(?:src|href)=\"(?:https?:)?//"
)


@pytest.fixture
def ticks(monkeypatch):
    """How often the tick was asked for at once, instead of a queue that nobody reads."""
    asked = []
    monkeypatch.setattr(tasks.tick, "delay", lambda: asked.append("tick"))
    return asked


@pytest.fixture
def asker(make_user):
    return make_user("asker", Role.SECURITY_OFFICER)


@pytest.fixture
def of_asker(asker):
    browser = Client()
    browser.force_login(asker, backend="django.contrib.auth.backends.ModelBackend")
    return browser


@pytest.fixture
def ask(asker):
    """Ask for the rotation of everything in `prod`, as the domain does it."""

    def asked(**overrides):
        wanted = {"reason": "Leak", "is_without_grace": True} | overrides
        with acting_as(Actor("user", asker.username, user_id=asker.pk)):
            return break_glass.request(Selection(tag="prod"), **wanted)

    return asked


@pytest.fixture
def approved(ask, make_user):
    def approve(**overrides):
        emergency = ask(**overrides)
        second = make_user("second", Role.SECURITY_OFFICER)
        with acting_as(Actor("user", second.username, user_id=second.pk)):
            break_glass.approve(emergency)
        return emergency

    return approve


def tagged(make_secret, *names, **fields):
    return [make_secret(name, tags=["prod"], **fields) for name in names]


def address(emergency, page="change"):
    return f"{BASE}{emergency.pk}/{page}/"


def carry_on():
    for run_id in break_glass.carry_on():
        machine.advance(run_id)


def seen_of(answer):
    return answer.context["preview"].seen


def main_of(answer):
    return " ".join(re.sub(r"<[^>]+>", " ", text_of(answer).split("<main")[1]).split())


def test_the_list_says_in_its_first_line_how_it_stands(reader, officer, make_secret, ask):
    assert title_of(reader.get(BASE)) == "No emergency is under way"
    assert "Ask</a>" not in text_of(reader.get(BASE))
    tagged(make_secret, "one", "two")
    first, second = ask(), ask()

    answer = officer.get(BASE)

    assert title_of(answer) == "2 emergencies wait for a second security officer"
    assert [each for each, _ in answer.context["rows"]] == [second, first]
    assert f'href="{ASK}"' in text_of(answer)


def test_asking_shows_first_what_would_be_rotated(officer, make_secret):
    database, api = tagged(make_secret, "database", "api")
    api.depends_on.add(database)
    tagged(make_secret, "licence", rotator="supplied", target={})

    answer = officer.post(ASK, FORM)

    page = main_of(answer)
    assert title_of(answer) == "2 secrets of tag prod would be rotated, 1 would not"
    assert "api DATABASE, paper rotates after database" in page
    assert "not by the console The console cannot make this value" in page
    assert not BreakGlass.objects.exists()


def test_what_was_seen_is_asked_for(officer, make_secret, ticks):
    tagged(make_secret, "one")

    answer = officer.post(ASK, FORM | {"seen": seen_of(officer.post(ASK, FORM))})

    emergency = BreakGlass.objects.get()
    assert answer.headers["Location"] == address(emergency)
    assert (emergency.selection, emergency.is_without_grace) == ("tag prod", True)
    assert emergency.reason == "The vault's backup leaked."
    assert emergency.state == BreakGlassState.REQUESTED
    assert ticks == []


def test_only_what_there_is_can_be_chosen(officer, make_secret):
    tagged(make_secret, "one", "two")
    make_secret("three", secret_type="API_KEY")

    choices = officer.get(ASK).context["form"].fields["selection"].choices

    assert list(choices) == [
        ("", "choose"),
        ("Type", [("type:API_KEY", "API_KEY (1)"), ("type:DATABASE", "DATABASE (2)")]),
        ("Tag", [("tag:prod", "prod (2)")]),
    ]


def test_what_changed_since_it_was_seen_is_shown_again(officer, make_secret):
    tagged(make_secret, "one")
    seen = seen_of(officer.post(ASK, FORM))
    tagged(make_secret, "two")

    answer = officer.post(ASK, FORM | {"seen": seen})

    assert "Something has changed since you looked." in text_of(answer)
    assert not BreakGlass.objects.exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"selection": "tag:nothing"}, "Select a valid choice"),
        ({"selection": ""}, "This field is required"),
        ({"selection": "tag:pr\0od"}, "Select a valid choice"),
        ({"reason": ""}, "This field is required"),
        ({"reason": "x" * 501}, "at most 500"),
        ({"reason": "a\0b"}, "Null characters are not allowed."),
    ],
)
def test_a_request_that_cannot_be_is_refused_at_its_field(officer, make_secret, change, message):
    tagged(make_secret, "one")

    answer = officer.post(ASK, FORM | change | {"seen": "[]"})

    assert message in text_of(answer)
    assert not BreakGlass.objects.exists()


def test_a_second_click_asks_no_second_time(officer, make_secret):
    tagged(make_secret, "one")
    same = FORM | {"seen": seen_of(officer.post(ASK, FORM))}

    officer.post(ASK, same)
    page = text_of(officer.post(ASK, same))

    emergency = BreakGlass.objects.get()
    assert f"Emergency {emergency.pk} for tag prod waits for its approval already." in page


def test_who_asked_is_told_why_another_has_to_approve(of_asker, make_secret, ask, ticks):
    tagged(make_secret, "one")
    emergency = ask()

    page = text_of(of_asker.get(address(emergency)))
    assert "You asked for it, so you cannot approve it." in page
    assert "/approve/" not in page
    assert "/reject/" not in page
    for decision in ("approve", "reject"):
        answer = of_asker.post(address(emergency, decision), {"name": "tag prod"}, follow=True)
        assert "another person must" in text_of(answer)

    emergency.refresh_from_db()
    assert emergency.state == BreakGlassState.REQUESTED
    assert ticks == []


def test_a_second_officer_approves_and_it_begins_at_once(officer, make_secret, ask, ticks):
    tagged(make_secret, "one")
    emergency = ask()
    assert address(emergency, "approve") in text_of(officer.get(address(emergency)))

    looked = officer.get(address(emergency, "approve"))
    assert title_of(looked) == "Approve: tag prod?"
    wrong = officer.post(address(emergency, "approve"), {"name": "prod"})
    assert "That is not it; type tag prod." in text_of(wrong)
    emergency.refresh_from_db()
    assert (emergency.state, ticks) == (BreakGlassState.REQUESTED, [])

    answer = officer.post(address(emergency, "approve"), {"name": "tag prod"})

    emergency.refresh_from_db()
    assert answer.headers["Location"] == address(emergency)
    assert (emergency.state, emergency.decider) == ("rotating", "security_officer-person")
    assert ticks == ["tick"]


def test_a_second_officer_rejects(officer, make_secret, ask, ticks):
    tagged(make_secret, "one")
    emergency = ask()

    answer = officer.post(address(emergency, "reject"), {"name": "tag prod"}, follow=True)

    assert title_of(answer) == "Rejected, nothing was rotated: tag prod"
    again = officer.post(address(emergency, "approve"), {"name": "tag prod"}, follow=True)
    assert "This emergency rotation was decided already." in text_of(again)
    assert ticks == []
    assert 'data-refresh="0"' in text_of(answer)


def test_progress_is_told_in_numbers_words_and_a_bar(reader, make_secret, approved, paper_of):
    database, api, _ = tagged(make_secret, "database", "api", "other")
    api.depends_on.add(database)
    paper_of(database).is_away = True
    tagged(make_secret, "licence", rotator="supplied", target={})
    emergency = approved()
    carry_on()

    answer = reader.get(address(emergency))

    page = main_of(answer)
    assert title_of(answer) == "1 of 4 rotated, 1 needs a person"
    assert "1 rotated 1 under way 1 needs a person 1 waiting" in page
    assert [(part.begins, part.count) for part in answer.context["parts"]] == [
        (0, 1),
        (1, 1),
        (2, 1),
        (3, 1),
    ]
    assert "waiting for database" in page
    assert "The console cannot make this value" in page
    run = Run.objects.get(secret=database)
    assert f"/admin/secrets_rotation/run/{run.pk}/change/" in text_of(answer)
    live = text_of(reader.get(address(emergency, "live")))
    assert live.startswith("<div")
    assert 'data-refresh="2"' in live


def test_an_earlier_run_that_holds_a_secret_up_is_named(reader, make_secret, approved):
    (secret,) = tagged(make_secret, "one")
    earlier = start(secret, trigger=Trigger.MANUAL)
    emergency = approved()

    answer = reader.get(address(emergency))

    assert f"waiting for run {earlier.pk} in PENDING" in main_of(answer)
    assert 'data-refresh="30"' in text_of(answer)


def test_the_report_says_who_when_and_what(reader, rotated, approved, make_secret):
    old = rotated("old", tags=["prod"])
    tagged(make_secret, "fresh")
    emergency = approved()
    carry_on()
    break_glass.carry_on()

    answer = reader.get(address(emergency))

    page = main_of(answer)
    assert title_of(answer) == "Done: 2 of 2 rotated, every old value is ended"
    assert "Asked by asker on" in page
    assert "Approved by second on" in page
    run = Run.objects.get(secret=old.secret, trigger=Trigger.BREAK_GLASS)
    assert f"{run.rotation.rotated_at:%Y-%m-%d %H:%M:%S}" in page
    assert f"{run.previous.ended_at:%Y-%m-%d %H:%M:%S}" in page
    assert "there was none" in page
    assert "data-print" in text_of(answer)
    assert 'data-refresh="0"' in text_of(answer)


@pytest.mark.parametrize("role", [Role.AUDITOR, Role.OPERATOR])
def test_others_read_and_do_not_act(client_as, make_secret, ask, role):
    tagged(make_secret, "one")
    emergency = ask()
    browser = client_as(role)

    for page in (BASE, address(emergency), address(emergency, "live")):
        assert browser.get(page).status_code == 200
        assert "/approve/" not in text_of(browser.get(page))
    for page in (ASK, address(emergency, "approve"), address(emergency, "reject")):
        assert browser.get(page).status_code == 403
        assert browser.post(page, FORM | {"name": "tag prod"}).status_code == 403
    emergency.refresh_from_db()
    assert emergency.state == BreakGlassState.REQUESTED


def test_no_page_shows_a_value_or_needs_what_the_policy_forbids(
    officer, rotated, store_credential, approved, ask
):
    for number in range(3):
        run = rotated(f"secret_{number}", times=2, tags=["prod"])
        store_credential(run.secret)
    rotating, waiting = approved(is_without_grace=False), ask()
    carry_on()

    pages = [officer.get(path) for path in (BASE, ASK, address(rotating), address(waiting))]
    pages += [officer.get(address(waiting, page)) for page in ("approve", "reject", "live")]
    BreakGlass.objects.filter(pk=waiting.pk).delete()
    pages.append(officer.post(ASK, FORM))

    for answer in pages:
        page = text_of(answer)
        assert answer.status_code == 200
        assert MARKER not in page
        assert re.findall(FORBIDDEN, page) == []
        assert page.count("<h1") == 1


def test_a_form_without_its_token_decides_nothing(make_secret, ask, make_user):
    tagged(make_secret, "one")
    emergency = ask()
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(
        make_user("olga", Role.SECURITY_OFFICER),
        backend="django.contrib.auth.backends.ModelBackend",
    )

    answer = browser.post(address(emergency, "approve"), {"name": "tag prod"})

    assert answer.status_code == 403
    emergency.refresh_from_db()
    assert emergency.state == BreakGlassState.REQUESTED


@pytest.mark.parametrize(
    "page", ["0/change/", "0/live/", "0/approve/", "99999999999999999999/change/"]
)
def test_an_emergency_that_is_not_there_is_not_found(officer, page):
    assert officer.get(f"{BASE}{page}").status_code == 404


def test_a_decision_that_is_none_is_not_found(officer, make_secret, ask):
    tagged(make_secret, "one")

    assert officer.get(address(ask(), "explode")).status_code == 404


def test_each_step_is_an_event_of_who_did_it(officer, of_asker, make_secret, ticks):
    tagged(make_secret, "one")
    of_asker.post(ASK, FORM | {"seen": seen_of(of_asker.post(ASK, FORM))})
    emergency = BreakGlass.objects.get()
    officer.post(address(emergency, "approve"), {"name": "tag prod"})

    events = AuditLog.objects.filter(resource=f"/secrets/break-glass/{emergency.pk}")

    assert [
        (log.actor, json.loads(log.details)["breakGlass"]) for log in events.order_by("id")
    ] == [
        ("asker", "requested"),
        ("security_officer-person", "approved"),
    ]


def test_a_page_of_many_secrets_costs_no_query_for_each(
    reader, make_secret, approved, django_assert_max_num_queries
):
    tagged(make_secret, *(f"secret_{number}" for number in range(20)))
    emergency = approved()
    carry_on()
    assert Run.objects.filter(state=RunState.REVOKED).count() == 20

    with django_assert_max_num_queries(15):
        reader.get(address(emergency))
    with django_assert_max_num_queries(15):
        reader.get(BASE)

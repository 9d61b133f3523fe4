import uuid

import pytest

from audit.models import AuditLog
from secrets_rotation.models import Run, RunState, Version
from tests.secrets_rotation.admin.conftest import MARKER, STRONG, text_of, title_of
from tests.secrets_rotation.paper import PaperRotator

pytestmark = pytest.mark.django_db


def address(secret):
    return f"/admin/secrets_rotation/secret/{secret.pk}/rotate/"


def form(secret, **overrides):
    return {"name": secret.name, "key": str(uuid.uuid4()), "new_value": ""} | overrides


def test_the_page_says_what_would_be_done_and_does_nothing(officer, rotated, make_consumer):
    run = rotated()
    make_consumer(run.secret)

    answer = officer.get(address(run.secret))

    page = text_of(answer)
    assert title_of(answer) == "postgres_password is ready to rotate"
    assert "paper:DATABASE postgres_password" in page
    assert "billing" in page
    assert 'autocomplete="new-password"' in page
    assert Version.objects.count() == 1


def test_a_rotation_is_begun_carried_on_and_shown(officer, make_secret, paper_of):
    secret = make_secret()

    answer = officer.post(address(secret), form(secret))

    run = Run.objects.get()
    assert answer.headers["Location"] == f"/admin/secrets_rotation/run/{run.pk}/change/"
    assert (run.state, run.actor) == (RunState.REVOKED, "security_officer-person")
    assert len(paper_of(secret).accepts) == 1


def test_a_value_that_is_brought_is_taken_and_reaches_no_page_and_no_log(
    officer, make_secret, paper_of
):
    secret = make_secret()

    answer = officer.post(address(secret), form(secret, new_value=STRONG), follow=True)

    assert paper_of(secret).accepts == {STRONG}
    assert MARKER not in text_of(answer)
    logs = AuditLog.objects.all()
    assert not [log for log in logs if MARKER in log.details + log.request_data + log.query]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (MARKER[:9], "Give 16 to 256 signs."),
        (MARKER + "ü" * 9, "Give printable ASCII"),
        (f" {STRONG}", "without blanks at either end"),
        (MARKER + "x" * 5_000, "at most 4096"),
    ],
)
def test_an_unfit_value_is_refused_at_its_field_and_does_not_come_back(
    officer, make_secret, value, message
):
    secret = make_secret()

    answer = officer.post(address(secret), form(secret, new_value=value))

    page = text_of(answer)
    assert answer.status_code == 200
    assert message in page
    assert MARKER[:9] not in page
    assert not Run.objects.exists()


def test_a_value_that_was_used_before_is_refused(officer, make_secret):
    secret = make_secret()
    officer.post(address(secret), form(secret, new_value=STRONG))

    page = text_of(officer.post(address(secret), form(secret, new_value=STRONG)))

    assert "This value was used before." in page
    assert MARKER not in page


def test_the_name_must_be_typed(officer, make_secret):
    secret = make_secret()

    page = text_of(officer.post(address(secret), form(secret, name="postgres_passwort")))

    assert "That is not the name; type postgres_password." in page
    assert not Run.objects.exists()


def test_a_second_click_begins_no_second_rotation(officer, make_secret):
    secret = make_secret()
    same = form(secret)

    answers = [officer.post(address(secret), same) for _ in range(2)]

    assert Run.objects.count() == 1
    assert answers[0].headers["Location"] == answers[1].headers["Location"]


def test_a_form_that_is_sent_again_with_another_value_is_refused(officer, make_secret):
    secret = make_secret()
    same = form(secret)
    officer.post(address(secret), same)

    page = text_of(officer.post(address(secret), same | {"new_value": STRONG}))

    assert "This form was sent before with another value" in page
    assert Run.objects.count() == 1


def test_a_rotation_under_way_is_shown_instead(officer, make_secret, paper_of):
    secret = make_secret()
    paper_of(secret).is_away = True
    officer.post(address(secret), form(secret))
    run = Run.objects.get()

    assert title_of(officer.get(address(secret))) == (
        "A rotation of postgres_password is under way"
    )
    answer = officer.post(address(secret), form(secret), follow=True)
    assert answer.redirect_chain == [(f"/admin/secrets_rotation/run/{run.pk}/change/", 302)]
    assert f"Rotation run {run.pk} of this secret is under way." in text_of(answer)


def test_a_value_that_the_console_cannot_make_is_asked_for(officer, make_secret, monkeypatch):
    monkeypatch.setattr(PaperRotator, "generates", False)
    secret = make_secret()

    assert "you give it below" in text_of(officer.get(address(secret)))
    page = text_of(officer.post(address(secret), form(secret)))

    assert "The console cannot make this value" in page


@pytest.mark.parametrize(
    ("target", "title"),
    [
        ("away", "The target of postgres_password does not answer"),
        ("changed", "Careful: the target refuses the current value"),
    ],
)
def test_the_first_line_says_what_the_target_answers(officer, rotated, paper_of, target, title):
    secret = rotated().secret
    paper_of(secret).is_away = target == "away"
    paper_of(secret).accepts.clear()

    assert title_of(officer.get(address(secret))) == title


def test_missing_settings_are_named_and_nothing_can_be_begun(officer, make_secret):
    secret = make_secret(target={})

    answer = officer.get(address(secret))

    page = text_of(answer)
    assert title_of(answer) == "postgres_password cannot be rotated as it is"
    assert "This setting is required." in page
    assert "new_value" not in page
    assert "This setting is required." in text_of(officer.post(address(secret), form(secret)))
    assert not Run.objects.exists()

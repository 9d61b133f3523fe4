import json
from datetime import timedelta

import pytest
from django.utils import timezone

from audit.models import AuditLog
from secrets_rotation.models import Policy
from tests.secrets_rotation.admin.conftest import text_of, title_of

pytestmark = pytest.mark.django_db

PAGE = "/admin/secrets_rotation/policy/DATABASE/change/"
RULES = {
    "interval": "90",
    "interval_unit": "days",
    "grace": "7",
    "grace_unit": "days",
    "auto_rotate": "true",
    "window_start": "00:00",
    "window_end": "00:00",
    "history_length": "5",
    "value_length": "32",
    "value_symbols": "-_.~",
}


@pytest.fixture
def policy():
    return Policy.objects.get(pk="DATABASE")


@pytest.fixture
def forty_days_old(make_secret):
    then = timezone.now() - timedelta(days=40)
    return make_secret(created_at=then, anchored_on=then.date())


def test_the_policies_are_listed(reader):
    page = text_of(reader.get("/admin/secrets_rotation/policy/"))

    assert [f"/{name}/change/" in page for name in ("DATABASE", "API_KEY")] == [True, True]
    assert "180 days" in page


def test_a_preview_shows_what_would_change_and_saves_nothing(officer, policy, forty_days_old):
    answer = officer.post(PAGE, RULES | {"interval": "30"})

    page = text_of(answer)
    assert title_of(answer) == "1 secret would be due at once"
    assert "due at once" in page
    assert "begins by itself" in page
    policy.refresh_from_db()
    assert policy.interval == 90


def test_what_was_previewed_is_saved_and_recorded_once(officer, policy, forty_days_old):
    seen = officer.post(PAGE, RULES | {"interval": "30"}).context["preview"].seen

    page = text_of(officer.post(PAGE, RULES | {"interval": "30", "seen": seen}, follow=True))

    assert "Due at once by it: postgres_password." in page
    policy.refresh_from_db()
    assert policy.interval == 30
    (log,) = AuditLog.objects.filter(action="UPDATE", method="")
    details = json.loads(log.details)
    assert (details["before"], details["after"]) == ({"interval": "90"}, {"interval": "30"})


def test_rules_that_were_not_previewed_are_not_saved(officer, policy):
    seen = officer.post(PAGE, RULES | {"interval": "60"}).context["preview"].seen

    page = text_of(officer.post(PAGE, RULES | {"interval": "30", "seen": seen}))

    assert "have changed since the preview" in page
    policy.refresh_from_db()
    assert policy.interval == 90


def test_a_secret_that_becomes_due_meanwhile_asks_for_another_preview(officer, policy, request):
    seen = officer.post(PAGE, RULES | {"interval": "30"}).context["preview"].seen
    request.getfixturevalue("forty_days_old")

    officer.post(PAGE, RULES | {"interval": "30", "seen": seen})

    policy.refresh_from_db()
    assert policy.interval == 90


@pytest.mark.parametrize(
    ("change", "field", "message"),
    [
        ({"interval": "0"}, "interval", "This must be 1 to 3650, not 0."),
        ({"interval": "-5"}, "interval", "This must be 1 to 3650, not -5."),
        ({"interval": "99999999999"}, "interval", "less than or equal to 32000"),
        ({"grace": "-99999999999"}, "grace", "greater than or equal to -32000"),
        ({"interval": ""}, "interval", "This field is required."),
        ({"interval_unit": "years"}, "interval_unit", "Select a valid choice"),
        ({"grace": "90"}, "grace", "must be shorter than the interval"),
        ({"grace": "-1"}, "grace", "cannot be negative"),
        ({"window_start": "25:00"}, "window_start", "Enter a valid time."),
        ({"history_length": "0"}, "history_length", "This must be 1 to 100, not 0."),
        ({"value_length": "3"}, "value_length", "This must be 16 to 256, not 3."),
        ({"value_symbols": "-'"}, "value_symbols", "These symbols cannot be used"),
    ],
)
def test_an_absurd_rule_is_refused_at_its_field(officer, policy, change, field, message):
    answer = officer.post(PAGE, RULES | change)

    assert message in " ".join(answer.context["form"].errors[field])
    assert answer.context["preview"] is None
    policy.refresh_from_db()
    assert policy.interval == 90


def test_the_same_rules_change_nothing(officer):
    assert "These are the rules that hold already." in text_of(officer.post(PAGE, RULES))


def test_the_page_begins_with_the_rules_that_hold(officer):
    form = officer.get(PAGE).context["form"]

    assert {name: str(form[name].value()) for name in RULES} == RULES


def test_an_auditor_sees_the_rules_and_has_no_form(reader):
    page = text_of(reader.get(PAGE))

    assert "a security officer changes them" in page
    assert '<form method="post" autocomplete' not in page
    assert reader.post(PAGE, RULES | {"interval": "30"}).status_code == 403


def test_a_type_that_does_not_exist_is_not_found(officer):
    assert officer.get("/admin/secrets_rotation/policy/NOTHING/change/").status_code == 404

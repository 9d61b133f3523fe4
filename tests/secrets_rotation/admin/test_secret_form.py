import json
from datetime import timedelta

import pytest

from audit.models import AuditLog
from secrets_rotation.declared import Setting
from secrets_rotation.models import PolicyOverride, Secret, TargetCredential, Trigger
from secrets_rotation.runs.start import start
from tests.secrets_rotation.admin.conftest import MARKER, text_of
from tests.secrets_rotation.paper import PAPERS, Paper, PaperRotator

pytestmark = pytest.mark.django_db

LIST = "/admin/secrets_rotation/secret/"
ADD = f"{LIST}add/?rotator=paper"
FORM = {
    "secret_type": "DATABASE",
    "name": "orders_db",
    "owner": "Payments",
    "tags": "eu, payments, eu",
    "target-name": "orders",
    "target-adminPassword": f"{MARKER}-admin",
}


@pytest.fixture(autouse=True)
def _paper(make_secret):
    PAPERS["orders"] = Paper()


def events(action):
    return [json.loads(log.details) for log in AuditLog.objects.filter(action=action, method="")]


def stored(secret):
    return json.loads(TargetCredential.objects.get(secret=secret).unseal().reveal())


def test_a_secret_is_added_by_the_catalogue_and_recorded_once(officer):
    answer = officer.post(ADD, FORM)

    secret = Secret.objects.get(name="orders_db")
    assert answer.headers["Location"] == f"{LIST}{secret.pk}/change/"
    assert (secret.rotator, secret.target) == ("paper", {"name": "orders"})
    assert secret.tags == ["eu", "payments"]
    assert stored(secret) == {"adminPassword": f"{MARKER}-admin"}
    assert not PolicyOverride.objects.exists()
    (told,) = events("CREATE")
    assert (told["name"], told["rotator"]) == ("DATABASE orders_db", "paper")


def test_the_rotators_to_choose_from_are_listed_first(officer):
    page = text_of(officer.get(f"{LIST}add/"))

    assert "?rotator=paper" in page
    assert "A target of the tests." in page


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "not a name"}, "Use letters, digits"),
        ({"target-name": ""}, "This field is required"),
        ({"target-name": "elsewhere"}, "Only orders is reachable"),
        ({"rules-interval": "0", "rules-interval_unit": "days"}, "This must be 1 to 3650"),
        ({"rules-grace": "99", "rules-grace_unit": "days"}, "must be shorter than the interval"),
        ({"rules-window_start": "22:00"}, "Give both ends of the window"),
        ({"secret_type": "NOTHING"}, "Select a valid choice"),
        ({"tags": "x" * 51}, "Give up to 50 tags"),
    ],
)
def test_what_cannot_be_is_said_at_its_field_and_no_secret_setting_comes_back(
    officer, monkeypatch, change, message
):
    def problems(target):
        return {} if target["name"] == "orders" else {"name": "Only orders is reachable."}

    monkeypatch.setattr(PaperRotator, "problems", problems)

    answer = officer.post(ADD, FORM | change)

    page = text_of(answer)
    assert answer.status_code == 200
    assert message in page
    assert page.startswith("<!doctype html>")
    assert MARKER not in page
    assert not Secret.objects.exists()


def test_a_name_that_is_taken_is_refused_at_its_field(officer, make_secret):
    make_secret("orders_db")

    page = text_of(officer.post(ADD, FORM))

    assert "There is a secret of this type and name already" in page


def test_what_a_secret_does_otherwise_is_kept_and_can_be_given_up(officer):
    rules = {"rules-interval": "6", "rules-interval_unit": "months", "rules-grace": "36"}
    officer.post(ADD, FORM | rules | {"rules-grace_unit": "hours", "rules-auto_rotate": "false"})
    secret = Secret.objects.get(name="orders_db")

    override = secret.override
    assert (override.interval, override.interval_unit) == (6, "months")
    assert (override.grace, override.auto_rotate) == (timedelta(hours=36), False)
    page = text_of(officer.get(f"{LIST}{secret.pk}/edit/"))
    assert 'name="rules-grace" value="36"' in page

    officer.post(f"{LIST}{secret.pk}/edit/", {"target-name": "orders"})
    override.refresh_from_db()
    assert (override.interval, override.grace, override.auto_rotate) == (None, None, None)


def test_an_edit_keeps_the_secret_settings_that_are_left_empty(officer, make_secret):
    officer.post(ADD, FORM)
    secret = Secret.objects.get(name="orders_db")
    PAPERS["other"] = Paper()

    page = text_of(officer.get(f"{LIST}{secret.pk}/edit/"))
    assert "Leave it empty to keep what is there" in page
    assert MARKER not in page
    officer.post(f"{LIST}{secret.pk}/edit/", {"owner": "Orders", "target-name": "other"})

    secret.refresh_from_db()
    assert (secret.owner, secret.tags, secret.target) == ("Orders", [], {"name": "other"})
    assert stored(secret) == {"adminPassword": f"{MARKER}-admin"}
    assert len(events("UPDATE")) == 1


def test_secret_settings_are_not_sent_to_another_address(officer, monkeypatch):
    monkeypatch.setattr(PaperRotator, "address", ("name",))
    officer.post(ADD, FORM)
    secret = Secret.objects.get(name="orders_db")

    page = text_of(officer.post(f"{LIST}{secret.pk}/edit/", {"target-name": "other"}))

    assert "It would go to another address: give it again." in page
    secret.refresh_from_db()
    assert secret.target == {"name": "orders"}


def test_a_target_does_not_change_under_a_rotation(officer, make_secret):
    secret = make_secret()
    run = start(secret, trigger=Trigger.MANUAL)

    page = text_of(officer.post(f"{LIST}{secret.pk}/edit/", {"target-name": "orders"}))

    assert f"Rotation run {run.pk} of this secret is under way" in page
    secret.refresh_from_db()
    assert secret.target == {"name": "DATABASE postgres_password"}


def test_a_secret_is_retired_once_its_name_is_typed(officer, make_secret):
    secret = make_secret()

    page = text_of(officer.post(f"{LIST}{secret.pk}/retire/", {"name": "postgres"}))
    secret.refresh_from_db()
    assert "That is not the name" in page
    assert secret.retired_at is None

    officer.post(f"{LIST}{secret.pk}/retire/", {"name": "postgres_password"})
    secret.refresh_from_db()
    assert secret.retired_at is not None
    assert len(events("DELETE")) == 1
    assert officer.get(f"{LIST}{secret.pk}/edit/").status_code == 404


def test_a_secret_is_not_retired_under_a_rotation(officer, make_secret):
    secret = make_secret()
    run = start(secret, trigger=Trigger.MANUAL)

    answer = officer.post(f"{LIST}{secret.pk}/retire/", {"name": secret.name})

    assert answer.headers["Location"] == f"/admin/secrets_rotation/run/{run.pk}/change/"


def test_no_body_of_these_forms_reaches_the_log(officer):
    officer.post(ADD, FORM)
    officer.post(ADD, FORM | {"name": "not a name"})

    everything = "".join(
        log.details + log.request_data + log.query for log in AuditLog.objects.all()
    )
    assert AuditLog.objects.filter(method="POST").count() == 2
    assert MARKER not in everything


def test_settings_of_every_kind_have_a_field(officer, monkeypatch):
    kinds = (
        Setting("name", "Which one", required=True),
        Setting("port", "A number", int, 1),
        Setting("verify", "Yes or no", bool, True),
        Setting("hosts", "A list", list),
        Setting("headers", "A secret object", dict, secret=True),
    )
    monkeypatch.setattr(PaperRotator, "settings", kinds)
    form = FORM | {
        "target-port": "7",
        "target-verify": "false",
        "target-hosts": '["a", "b"]',
        "target-headers": json.dumps({"X-Key": f"{MARKER}-header"}),
    }
    form.pop("target-adminPassword")

    nul = officer.post(ADD, form | {"target-hosts": '["\\u0000"]'})
    assert "Null characters are not allowed." in text_of(nul)
    assert MARKER not in text_of(nul)
    broken = officer.post(ADD, form | {"target-headers": f"{MARKER} is no JSON"})
    assert "Enter a valid JSON." in text_of(broken)
    assert MARKER not in text_of(broken)
    officer.post(ADD, form)

    secret = Secret.objects.get(name="orders_db")
    assert secret.target == {"name": "orders", "port": 7, "verify": False, "hosts": ["a", "b"]}
    assert stored(secret) == {"headers": {"X-Key": f"{MARKER}-header"}}
    page = text_of(officer.get(f"{LIST}{secret.pk}/edit/"))
    assert "[&quot;a&quot;, &quot;b&quot;]" in page
    assert MARKER not in page
    officer.post(f"{LIST}{secret.pk}/edit/", form | {"target-headers": "", "target-port": "8"})
    secret.refresh_from_db()
    assert secret.target == {"name": "orders", "port": 8, "verify": False, "hosts": ["a", "b"]}
    assert stored(secret) == {"headers": {"X-Key": f"{MARKER}-header"}}

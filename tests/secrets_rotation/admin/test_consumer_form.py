import json

import pytest

from audit.models import AuditLog
from compliance_site.foundation.roles import Role
from secrets_rotation.delivery import consumers
from secrets_rotation.models import Consumer, ConsumerCredential, Delivery, DeliveryState
from tests.secrets_rotation.admin.conftest import MARKER, text_of

pytestmark = pytest.mark.django_db

VAULT = {
    "name": "billing",
    "target-url": "https://vault.example:8200",
    "target-path": "app/orders",
    "target-token": f"{MARKER}-vault-token",
}
WEBHOOK = {
    "name": "billing",
    "target-url": "https://hooks.example/rotated",
    "target-signingKey": "whsec_" + "QUJD" * 11,
}


@pytest.fixture
def secret(rotated):
    return rotated().secret


def base(secret):
    return f"/admin/secrets_rotation/secret/{secret.pk}/consumers/"


def add(secret, delivery):
    return f"{base(secret)}add/?delivery={delivery}"


def page_of(consumer, page="edit"):
    return f"{base(consumer.secret)}{consumer.pk}/{page}/"


def stored(consumer):
    return json.loads(ConsumerCredential.objects.get(consumer=consumer).unseal().reveal())


def events(action):
    logs = AuditLog.objects.filter(action=action, method="", resource__contains="/consumers/")
    return [json.loads(log.details) for log in logs]


def on_its_way(consumer):
    return Delivery.objects.filter(consumer=consumer, state=DeliveryState.WAITING).count()


def test_a_consumer_is_added_with_what_its_delivery_declares(officer, secret, make_user):
    account = make_user("billing-service", Role.SERVICE)
    assert "Vault or OpenBao" in text_of(officer.get(f"{base(secret)}add/"))
    assert 'name="target-path"' in text_of(officer.get(add(secret, "vault_kv2")))

    answer = officer.post(add(secret, "vault_kv2"), VAULT | {"service_account": account.pk})

    consumer = Consumer.objects.get()
    assert answer.headers["Location"] == f"/admin/secrets_rotation/secret/{secret.pk}/change/"
    assert (consumer.name, consumer.delivery) == ("billing", "vault_kv2")
    assert consumer.service_account == account
    assert consumer.destination == {"url": "https://vault.example:8200", "path": "app/orders"}
    assert stored(consumer) == {"token": f"{MARKER}-vault-token"}
    assert on_its_way(consumer) == 1
    assert len(events("CREATE")) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": ""}, "This field is required"),
        ({"name": "x" * 101}, "at most 100"),
        ({"name": "a\0b"}, "Null characters are not allowed."),
        ({"target-path": ""}, "This field is required"),
        ({"target-token": "", "target-roleId": "r"}, "roleSecretId"),
        ({"service_account": "0"}, "Select a valid choice"),
    ],
)
def test_what_cannot_be_is_said_at_its_field_and_no_secret_setting_comes_back(
    officer, secret, change, message
):
    answer = officer.post(add(secret, "vault_kv2"), VAULT | change)

    page = text_of(answer)
    assert answer.status_code == 200
    assert message in page
    assert "field-error" in page
    assert MARKER not in page
    assert not Consumer.objects.exists()


def test_a_name_that_is_taken_is_refused_at_its_field(officer, secret, make_consumer):
    make_consumer(secret)

    page = text_of(officer.post(add(secret, "none"), {"name": "billing"}))

    assert "The secret has a consumer of this name already." in page


def test_only_service_accounts_can_be_chosen(officer, secret, make_user):
    person = make_user("person", Role.AUDITOR)
    gone = make_user("gone-service", Role.SERVICE, is_active=False)

    for account in (person, gone):
        form = {"name": "billing", "service_account": account.pk}
        assert "Select a valid choice" in text_of(officer.post(add(secret, "none"), form))


def test_a_change_keeps_the_secret_settings_that_are_left_empty(officer, secret):
    officer.post(add(secret, "vault_kv2"), VAULT)
    consumer = Consumer.objects.get()

    page = text_of(officer.get(page_of(consumer)))
    assert "Leave it empty to keep what is there" in page
    assert "app/orders" in page
    assert MARKER not in page
    form = VAULT | {"target-token": "", "target-path": "app/other"}
    officer.post(page_of(consumer), form)

    consumer.refresh_from_db()
    assert consumer.destination["path"] == "app/other"
    assert stored(consumer) == {"token": f"{MARKER}-vault-token"}
    assert len(events("UPDATE")) == 1


def test_secret_settings_are_not_sent_to_another_address(officer, secret):
    officer.post(add(secret, "vault_kv2"), VAULT)
    consumer = Consumer.objects.get()
    form = VAULT | {"target-token": "", "target-url": "https://elsewhere.example"}

    page = text_of(officer.post(page_of(consumer), form))

    assert "It would go to another address: give it again." in page
    consumer.refresh_from_db()
    assert consumer.destination["url"] == "https://vault.example:8200"


def test_lines_stay_as_they_were_given(officer, secret):
    pem = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
    with_returns = pem.replace("\n", "\r\n")
    officer.post(add(secret, "webhook"), WEBHOOK | {"target-caCertificate": with_returns})
    consumer = Consumer.objects.get()
    assert consumer.destination["caCertificate"] == pem
    Delivery.objects.filter(consumer=consumer).update(state=DeliveryState.SUPERSEDED)

    form = {"target-caCertificate": with_returns, "target-signingKey": ""}
    officer.post(page_of(consumer), WEBHOOK | form | {"name": "invoices"})

    consumer.refresh_from_db()
    assert (consumer.name, consumer.destination["caCertificate"]) == ("invoices", pem)
    assert on_its_way(consumer) == 0


def test_another_name_delivers_nothing_again(officer, secret):
    officer.post(add(secret, "vault_kv2"), VAULT)
    consumer = Consumer.objects.get()
    Delivery.objects.filter(consumer=consumer).update(state=DeliveryState.SUPERSEDED)

    officer.post(page_of(consumer), VAULT | {"name": "invoices", "target-token": ""})

    consumer.refresh_from_db()
    assert consumer.name == "invoices"
    assert on_its_way(consumer) == 0


def test_another_way_of_delivery_takes_the_place_of_the_first(officer, secret):
    officer.post(add(secret, "vault_kv2"), VAULT)
    consumer = Consumer.objects.get()
    assert "Signed webhook" in text_of(officer.get(f"{page_of(consumer)}?delivery="))

    officer.post(f"{page_of(consumer)}?delivery=none", {"name": "billing"})

    consumer.refresh_from_db()
    assert (consumer.delivery, consumer.destination) == ("none", {})
    assert not ConsumerCredential.objects.exists()


def test_the_account_is_replaced_and_not_taken_away(officer, secret, make_user, make_consumer):
    first, second = (make_user(f"service-{n}", Role.SERVICE) for n in (1, 2))
    consumer = make_consumer(secret, service_account=first)

    page = text_of(officer.post(page_of(consumer), {"name": "billing", "service_account": ""}))
    assert "This field is required" in page
    officer.post(page_of(consumer), {"name": "billing", "service_account": second.pk})

    consumer.refresh_from_db()
    assert consumer.service_account == second


def test_a_consumer_whose_account_lost_its_role_can_still_be_renamed(
    officer, secret, make_user, make_consumer
):
    former = make_user("former-service")
    consumer = make_consumer(secret, service_account=former)

    officer.post(page_of(consumer), {"name": "invoices", "service_account": former.pk})

    consumer.refresh_from_db()
    assert (consumer.name, consumer.service_account) == ("invoices", former)


def test_a_consumer_is_retired_once_its_name_is_typed(officer, secret, make_consumer):
    consumer = make_consumer(secret)

    page = text_of(officer.post(page_of(consumer, "retire"), {"name": "bill"}))
    consumer.refresh_from_db()
    assert "That is not the name; type billing." in page
    assert consumer.retired_at is None

    officer.post(page_of(consumer, "retire"), {"name": "billing"})
    consumer.refresh_from_db()
    assert consumer.retired_at is not None
    assert officer.get(page_of(consumer)).status_code == 404
    assert len(events("DELETE")) == 1


def test_a_consumer_retired_meanwhile_is_said(officer, secret, make_consumer, monkeypatch):
    consumer = make_consumer(secret)
    monkeypatch.setattr(
        "secrets_rotation.admin.consumer_form._living", lambda id, consumer_id: consumer
    )
    consumers.retire(consumer)

    page = text_of(officer.post(page_of(consumer), {"name": "billing"}))

    assert "billing is retired." in page


@pytest.mark.parametrize("role", [Role.AUDITOR, Role.OPERATOR])
def test_others_see_consumers_and_cannot_touch_them(client_as, secret, make_consumer, role):
    consumer = make_consumer(secret)
    browser = client_as(role)

    page = text_of(browser.get(f"/admin/secrets_rotation/secret/{secret.pk}/change/"))
    assert "billing" in page
    assert "/consumers/" not in page
    for path in (add(secret, "none"), page_of(consumer), page_of(consumer, "retire")):
        assert browser.get(path).status_code == 403
        assert browser.post(path, {"name": "billing"}).status_code == 403
    consumer.refresh_from_db()
    assert consumer.retired_at is None


def test_the_pages_of_a_secret_lead_there(officer, secret, make_consumer):
    consumer = make_consumer(secret)

    page = text_of(officer.get(f"/admin/secrets_rotation/secret/{secret.pk}/change/"))

    for path in (f"{base(secret)}add/", page_of(consumer), page_of(consumer, "retire")):
        assert f'href="{path}"' in page


def test_a_consumer_of_another_secret_is_not_found(officer, secret, make_consumer, make_secret):
    consumer = make_consumer(make_secret("other"))

    for page in ("edit", "retire"):
        assert officer.get(f"{base(secret)}{consumer.pk}/{page}/").status_code == 404
    assert officer.get("/admin/secrets_rotation/secret/0/consumers/add/").status_code == 404


def test_nothing_that_was_typed_reaches_the_log(officer, secret):
    officer.post(add(secret, "vault_kv2"), VAULT)
    officer.post(add(secret, "vault_kv2"), VAULT | {"target-path": ""})

    logs = AuditLog.objects.all()
    assert not [log for log in logs if MARKER in log.details + log.request_data + log.query]

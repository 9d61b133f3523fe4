import pytest
from django.contrib.auth.models import AnonymousUser
from django.db import DatabaseError, transaction
from django.utils import timezone

from audit.capture.actors import Actor
from audit.models import AuditLog
from compliance_site.foundation.roles import Role
from secrets_rotation.declared import SettingsError
from secrets_rotation.delivery import consumers, outbox, registry
from secrets_rotation.exceptions import ConsumerError, OldVersionError, UnknownVersionError
from secrets_rotation.models import (
    Acknowledgement,
    ConsumerCredential,
    Delivery,
    DeliveryState,
    VersionState,
)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("actor")]
ACTOR = Actor("service", "trading-api", 7)
HOOK = {"url": "https://trading.example/secrets", "signingKey": "a key that signs, long enough"}


@pytest.fixture
def secret(make_secret):
    return make_secret()


@pytest.fixture
def consumer(secret):
    return consumers.register(secret, "api", "none")


def last_event():
    entry = AuditLog.objects.latest("id")
    return entry.action, entry.resource


def test_a_new_consumer_gets_the_current_version(secret, make_version):
    version = make_version(secret)

    consumer = consumers.register(secret, "api", "none")

    assert [each.version for each in consumer.deliveries.all()] == [version]
    assert last_event() == ("CREATE", f"/secrets/{secret.pk}/consumers/{consumer.pk}")


def test_secret_settings_are_sealed_and_come_back_for_delivery_only(secret):
    consumer = consumers.register(secret, "api", "webhook", HOOK)

    assert consumer.destination == {"url": HOOK["url"]}
    credential = ConsumerCredential.objects.get(consumer=consumer)
    assert HOOK["signingKey"].encode() not in bytes(credential.ciphertext)
    given = registry.destination_of(consumer).given
    assert given["signingKey"].reveal() == HOOK["signingKey"]
    assert HOOK["signingKey"] not in repr(given)


@pytest.mark.parametrize(
    ("delivery", "given", "fields"),
    [
        ("webhook", {"ulr": "x"}, {"ulr", "url", "signingKey"}),
        ("webhook", {"url": "ftp://x", "signingKey": "short"}, {"url", "signingKey"}),
        ("file", {"path": "../etc/passwd"}, {"path"}),
        ("none", {"path": "x"}, {"path"}),
    ],
)
def test_wrong_settings_are_named_and_nothing_is_kept(secret, delivery, given, fields, folder):
    with pytest.raises(SettingsError) as refusal:
        consumers.register(secret, "api", delivery, given)

    assert refusal.value.fields.keys() == fields
    assert secret.consumers.count() == 0


def test_an_unknown_delivery_names_the_nearest(secret):
    with pytest.raises(registry.UnknownDestinationError, match="did you mean env_file"):
        consumers.register(secret, "api", "envfile")


def test_a_name_is_taken_until_its_consumer_is_retired(secret, consumer):
    with pytest.raises(consumers.NameTakenError):
        consumers.register(secret, "api", "none")

    consumers.retire(consumer)

    assert consumers.register(secret, "api", "none").pk != consumer.pk


def test_only_a_service_acknowledges_for_itself(secret, make_user):
    person = make_user("alice", Role.OPERATOR)

    with pytest.raises(ConsumerError, match="alice is no service account"):
        consumers.register(secret, "api", "none", service_account=person)


def test_a_retired_secret_gets_no_consumers(secret):
    secret.retired_at = timezone.now()
    secret.save()

    with pytest.raises(ConsumerError, match="DATABASE abtpro_db is retired"):
        consumers.register(secret, "api", "none")


def test_a_new_place_gets_the_current_version_again(secret, make_version, folder):
    consumer = consumers.register(secret, "api", "file", {"path": "first"})
    version = make_version(secret)
    outbox.enqueue(version)
    outbox.deliver_due()

    consumers.change(consumer, destination={"path": "second"})
    assert outbox.state_of(version).waiting == 1
    outbox.deliver_due()

    assert (folder / "second").read_text() == (folder / "first").read_text()


def test_a_new_name_delivers_nothing(secret, make_version, consumer):
    make_version(secret)

    changed = consumers.change(consumer, name="trading-api")

    assert (changed.name, Delivery.objects.count()) == ("trading-api", 0)


def test_secret_settings_that_are_left_out_stay(secret):
    consumer = consumers.register(secret, "api", "webhook", HOOK)

    consumers.change(consumer, destination={"url": HOOK["url"], "previous": True})

    given = registry.destination_of(consumer).given
    assert given["signingKey"].reveal() == HOOK["signingKey"]
    consumer.refresh_from_db()
    assert registry.destination_of(consumer).keeps_earlier


def test_secret_settings_are_not_sent_to_another_address_unseen(secret):
    given = {"url": "https://vault.example", "path": "app/db", "token": "a token of the store"}
    consumer = consumers.register(secret, "api", "vault_kv2", given)

    with pytest.raises(SettingsError) as refusal:
        consumers.change(consumer, destination={"url": "https://evil.example", "path": "app/db"})

    assert refusal.value.fields == {"token": "It would go to another address: give it again."}
    consumers.change(consumer, destination=given | {"url": "https://other.example"})


def test_another_way_of_delivery_takes_nothing_over(secret, folder):
    consumer = consumers.register(secret, "api", "webhook", HOOK)

    changed = consumers.change(consumer, delivery="file", destination={"path": "password"})

    assert changed.destination == {"path": "password"}
    assert not ConsumerCredential.objects.exists()


def test_a_retired_consumer_is_waited_for_no_more(
    secret, consumer, make_version, make_run, sent_tasks, django_capture_on_commit_callbacks
):
    version = make_version(secret)
    run = make_run(version)
    outbox.enqueue(version)

    with django_capture_on_commit_callbacks(execute=True):
        consumers.retire(consumer)
        consumers.retire(consumer)

    assert version.deliveries.get().state == DeliveryState.SUPERSEDED
    assert consumers.unacknowledged(version) == []
    assert sent_tasks == [("secrets_rotation.advance", [run.pk])]
    assert AuditLog.objects.filter(action="DELETE").count() == 1
    for refused in (
        lambda: consumers.change(consumer, name="x"),
        lambda: consumers.acknowledge(consumer, 1, ACTOR),
    ):
        with pytest.raises(ConsumerError, match="retired"):
            refused()


def test_an_acknowledgement_is_kept_once_and_wakes_the_run(
    secret, consumer, make_version, make_run, sent_tasks, django_capture_on_commit_callbacks
):
    version = make_version(secret)
    run = make_run(version)
    assert consumers.unacknowledged(version) == [consumer]

    with django_capture_on_commit_callbacks(execute=True):
        first = consumers.acknowledge(consumer, 1, ACTOR)
        again = consumers.acknowledge(consumer, 1, Actor("user", "alice", 1))

    assert first == again
    assert (first.actor_type, first.actor) == ("service", "trading-api")
    assert consumers.unacknowledged(version) == []
    assert sent_tasks == [("secrets_rotation.advance", [run.pk])]
    entry = AuditLog.objects.get(action="ACKNOWLEDGE")
    assert (entry.actor, '"version":1' in entry.details) == ("trading-api", True)


def test_an_old_version_is_said_to_be_old(secret, consumer, make_version):
    make_version(secret, 1)
    make_version(secret, 2)

    with pytest.raises(OldVersionError, match="Version 1 is an old one; version 2 is current"):
        consumers.acknowledge(consumer, 1, ACTOR)


def test_one_acknowledged_while_it_was_current_stays_so(secret, consumer, make_version):
    make_version(secret, 1)
    first = consumers.acknowledge(consumer, 1, ACTOR)
    make_version(secret, 2)

    assert consumers.acknowledge(consumer, 1, ACTOR) == first


@pytest.mark.parametrize("number", [0, -1, 3, 99])
def test_versions_that_were_never_current_are_unknown(secret, consumer, make_version, number):
    make_version(secret, 1)
    make_version(secret, 3, VersionState.PENDING)

    with pytest.raises(UnknownVersionError, match=f"no version {number} "):
        consumers.acknowledge(consumer, number, ACTOR)


def test_acknowledgements_cannot_be_changed(secret, consumer, make_version):
    make_version(secret)
    acknowledgement = consumers.acknowledge(consumer, 1, ACTOR)

    for change in (
        lambda: Acknowledgement.objects.update(at=timezone.now()),
        acknowledgement.delete,
    ):
        with pytest.raises(DatabaseError), transaction.atomic():
            change()


def test_who_may_acknowledge(secret, make_user):
    own = make_user("trading-api", Role.SERVICE)
    consumer = consumers.register(secret, "api", "none", service_account=own)
    users = {
        "own": own,
        "other": make_user("other-api", Role.SERVICE),
        "officer": make_user("officer", Role.SECURITY_OFFICER),
        "superuser": make_user("root", is_superuser=True),
        "operator": make_user("operator", Role.OPERATOR),
        "auditor": make_user("auditor", Role.AUDITOR),
        "gone": make_user("gone", Role.SECURITY_OFFICER, is_active=False),
        "nobody": AnonymousUser(),
    }

    may = {name for name, user in users.items() if consumers.may_acknowledge(user, consumer)}

    assert may == {"own", "officer", "superuser"}


def test_an_account_that_is_no_service_any_more_may_not(secret, make_user):
    own = make_user("trading-api", Role.SERVICE)
    consumer = consumers.register(secret, "api", "none", service_account=own)
    own.groups.clear()

    assert not consumers.may_acknowledge(type(own).objects.get(pk=own.pk), consumer)

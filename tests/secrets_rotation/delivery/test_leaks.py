"""Deliver to every kind of place, well and badly, then look for the values everywhere."""

import base64
import json
import logging
import traceback

import pytest
import redis
from django.db import connection, transaction
from moto.server import ThreadedMotoServer

from compliance_site.foundation.secret_text import SecretText
from secrets_rotation.delivery import consumers, outbox, registry
from secrets_rotation.exceptions import DeliveryError
from tests.secrets_rotation.delivery.cluster import TOKEN as CLUSTER_TOKEN
from tests.secrets_rotation.delivery.cluster import Cluster
from tests.secrets_rotation.delivery.conftest import destination, serving
from tests.secrets_rotation.delivery.kv_store import TOKEN as STORE_TOKEN
from tests.secrets_rotation.delivery.kv_store import KvStore
from tests.secrets_rotation.delivery.test_aws import client_of

VALUE = "Zx9-leak-canary-Qw7"
SIGNING_KEY = "a signing key that must not leak"
AWS_KEY = "aws-key-that-must-not-leak"
SECRETS = (VALUE, SIGNING_KEY, AWS_KEY, STORE_TOKEN, CLUSTER_TOKEN)
TABLES = (
    "secrets_rotation_delivery",
    "secrets_rotation_consumer",
    "secrets_rotation_consumer_credential",
    "secrets_rotation_version",
    "secrets_rotation_version_value",
    "secrets_rotation_acknowledgement",
    "audit_log",
)


def forms(secret):
    """A text as it is, and its middle part in base64 wherever that begins."""
    yield secret
    for skipped in range(3):
        encoded = base64.b64encode(secret[skipped:].encode()).decode()
        yield encoded[: len(encoded) - 4]


def leaks(text):
    return [form for secret in SECRETS for form in forms(secret) if form in text]


@pytest.fixture
def aws_url():
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    url = "http://{}:{}".format(*server.get_host_and_port())
    with client_of(url) as manager:
        manager.create_secret(Name="app/db")
        yield url
        manager.delete_secret(SecretId="app/db", ForceDeleteWithoutRecovery=True)
    server.stop()


def refusing(method, path, headers, body):
    """A server that says no, and in its answer everything that it was sent."""
    sent = body + repr(headers).encode()
    return 400, {"Content-Type": "application/json"}, b'{"errors": ["%s"]}' % sent[:2_000]


def everywhere(store, cluster, receiver, aws):
    """Settings for every kind of destination."""
    return {
        "none": {},
        "file": {"path": "db.json", "format": "json", "previous": True},
        "env_file": {"path": ".env", "variable": "SECRET"},
        "webhook": {"url": receiver, "signingKey": SIGNING_KEY},
        "aws_secrets_manager": {
            "region": "eu-central-1",
            "secretId": "app/db",
            "accessKeyId": "AKIAIOSFODNN7EXAMPLE",
            "secretAccessKey": AWS_KEY,
            "endpointUrl": aws,
        },
        "vault_kv2": {"url": store, "path": "app/db", "token": STORE_TOKEN},
        "kubernetes_secret": {
            "url": cluster,
            "namespace": "trading",
            "secretName": "app-db",
            "valueKey": "password",
            "token": CLUSTER_TOKEN,
        },
    }


def rows():
    with connection.cursor() as cursor:
        for table in TABLES:
            cursor.execute(f"SELECT {table}::text FROM {table}")
            yield from (row for (row,) in cursor.fetchall())


@pytest.mark.django_db
@pytest.mark.usefixtures("actor", "folder")
@pytest.mark.parametrize("is_refused", [False, True])
def test_no_value_and_no_credential_is_kept_or_logged(
    make_secret, make_version, caplog, capfd, aws_url, is_refused, sent_tasks
):
    caplog.set_level(logging.DEBUG)
    secret = make_secret()
    handlers = [refusing] * 3 if is_refused else [KvStore(), Cluster(), lambda *_: (204, {}, b"")]
    with (
        serving(handlers[0]) as store,
        serving(handlers[1]) as cluster,
        serving(handlers[2]) as receiver,
    ):
        aws = receiver if is_refused else aws_url
        for name, given in everywhere(store, cluster, receiver, aws).items():
            consumers.register(secret, name, name, given)
        version = make_version(secret, value=VALUE)
        outbox.enqueue(version)
        outbox.deliver_due()

    summary = outbox.state_of(version)
    assert (summary.delivered, summary.failing) == ((3, 4) if is_refused else (7, 0))
    said = [caplog.text, *capfd.readouterr(), repr(sent_tasks), *rows()]
    said += [repr(list(secret.consumers.values())), repr(list(version.deliveries.all()))]
    assert leaks("\n".join(said)) == []
    assert ("DELIVERY_FAILED" in "\n".join(said)) == is_refused


@pytest.mark.usefixtures("committed_db", "actor")
def test_messages_in_the_queue_hold_ids_and_nothing_else(
    make_secret, make_version, make_run, settings
):
    queue = redis.Redis.from_url(settings.CELERY_BROKER_URL)
    queue.delete("celery")
    secret = make_secret()
    consumers.register(secret, "api", "none")
    version = make_version(secret, value=VALUE)
    run = make_run(version)
    with transaction.atomic():
        outbox.enqueue(version)
    outbox.deliver_due()

    messages = [json.loads(message) for message in queue.lrange("celery", 0, -1)]
    queue.delete("celery")
    queue.close()
    called = {
        message["headers"]["task"]: json.loads(base64.b64decode(message["body"]))[0]
        for message in messages
    }
    assert called == {"secrets_rotation.deliver_due": [], "secrets_rotation.advance": [run.pk]}
    assert leaks(json.dumps(messages)) == []


@pytest.mark.parametrize("name", registry.DESTINATIONS)
def test_no_exception_carries_a_value(name, make_parcel, folder, aws_url):
    """Not in its text, nor in an exception that it came from, nor in what `repr` shows of it."""
    (folder / "db.json").mkdir()
    (folder / ".env").mkdir()
    parcel = make_parcel(value=VALUE)
    with serving(refusing) as url:
        place = destination(name, **everywhere(url, url, url, url)[name])
        if name == "none":
            place.deliver(parcel)
            return
        with pytest.raises(DeliveryError) as refusal:
            place.deliver(parcel)

    text = "".join(traceback.format_exception(refusal.value))
    assert leaks(text + repr(parcel) + repr(place) + repr(place.given)) == []


def test_the_search_would_find_them():
    assert leaks(f"x{VALUE}y")
    assert leaks(base64.b64encode(f"..{VALUE}..".encode()).decode())
    assert not leaks(repr(SecretText(VALUE)))

from contextlib import contextmanager

import pytest
from celery import current_app

from compliance_site.foundation.secret_text import SecretText
from secrets_rotation import declared
from secrets_rotation.delivery import registry
from secrets_rotation.delivery.destinations.base import Earlier, Parcel
from secrets_rotation.models import (
    Policy,
    Run,
    RunState,
    Secret,
    Trigger,
    Version,
    VersionState,
    VersionValue,
)
from tests import local_servers
from tests.conftest import NOW

VALUE = "correct.horse~battery-staple_{}"


@pytest.fixture
def make_parcel():
    def make(number=1, value=None, earlier=None, **overrides):
        defaults = {
            "secret_type": "DATABASE",
            "secret_name": "abtpro_db",
            "number": number,
            "version_id": 100 + number,
            "username": f"app_{number}",
            "value": SecretText(value or VALUE.format(number)),
            "earlier": earlier and Earlier(earlier, f"app_{earlier}", secret_value(earlier)),
        }
        return Parcel(**defaults | overrides)

    return make


def secret_value(number):
    return SecretText(VALUE.format(number))


def destination(name, **given):
    """A destination as the outbox makes it: its settings checked, stored and read back."""
    kind = registry.destination_class(name)
    checked = declared.check(kind.settings, given)
    merged = declared.merged(kind.settings, checked.shown, checked.sealed)
    assert kind.problems(merged) == {}
    return kind(merged)


@pytest.fixture
def folder(settings, tmp_path):
    """The folder below which files are delivered."""
    settings.DELIVERY_FOLDER = tmp_path / "delivery"
    settings.DELIVERY_FOLDER.mkdir()
    return settings.DELIVERY_FOLDER


@pytest.fixture
def make_secret():
    def make(name="abtpro_db"):
        return Secret.objects.create(
            policy=Policy.objects.get(secret_type="DATABASE"),
            name=name,
            rotator="supplied",
            anchored_on=NOW.date(),
        )

    return make


@pytest.fixture
def make_version():
    """A version with a sealed value; current unless said otherwise, what was current then not."""

    def make(secret, number=1, state=VersionState.CURRENT, value=None):
        if state == VersionState.CURRENT:
            secret.versions.filter(state=VersionState.PREVIOUS).update(state=VersionState.REVOKED)
            secret.versions.filter(state=state).update(state=VersionState.PREVIOUS)
        version = Version.objects.create(
            secret=secret,
            number=number,
            state=state,
            username=f"app_{number}",
            is_generated=True,
            fingerprint="f" * 64,
            promoted_at=NOW if state == VersionState.CURRENT else None,
        )
        sealed = VersionValue(version=version)
        sealed.seal(SecretText(value or VALUE.format(number)))
        sealed.save()
        return version

    return make


@pytest.fixture
def make_run():
    def make(version):
        return Run.objects.create(
            secret=version.secret,
            version=version,
            state=RunState.DISTRIBUTING,
            trigger=Trigger.MANUAL,
            actor_type="command",
            actor="tester",
            grace="1 day",
        )

    return make


@pytest.fixture
def sent_tasks(monkeypatch):
    """What goes to the queue, instead of going there."""
    tasks = []
    monkeypatch.setattr(
        current_app, "send_task", lambda name, args=None: tasks.append((name, args)), raising=True
    )
    return tasks


@contextmanager
def serving(handler):
    """A real HTTP server; `handler(method, path, headers, body)` returns status, headers, body.

    Yields the server's URL.
    """
    answer = lambda got: handler(got.method, got.path, got.headers, got.body)  # noqa: E731
    with local_servers.serving(local_servers.HttpServer(answer)) as server:
        yield server.url

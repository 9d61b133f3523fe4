from datetime import timedelta

import pytest
from django.db import OperationalError
from django.utils import timezone
from prometheus_client import CollectorRegistry

from secrets_rotation import metrics
from secrets_rotation.models import Trigger
from secrets_rotation.runs import machine
from secrets_rotation.runs.start import start

pytestmark = pytest.mark.django_db

LABELS = {"secret_type": "DATABASE", "secret_name": "postgres_password"}


@pytest.fixture
def registry():
    registry = CollectorRegistry()
    registry.register(metrics.RotationCollector())
    return registry


def test_age_days_left_and_overdue(make_secret, registry):
    rotated = timezone.now() - timedelta(days=100)
    make_secret(last_rotated_at=rotated, anchored_on=rotated.date())

    assert registry.get_sample_value("secret_age_seconds", LABELS) == pytest.approx(
        8_640_000, abs=60
    )
    assert registry.get_sample_value("secret_days_until_rotation", LABELS) in (-10, -11)
    assert registry.get_sample_value("secret_overdue", LABELS) == 1
    assert registry.get_sample_value("secret_rotation_up") == 1


def test_a_run_shows_its_state_and_attempts_and_the_old_value_its_age(
    make_secret, paper_of, registry
):
    secret = make_secret()
    machine.advance(start(secret, trigger=Trigger.MANUAL).pk)
    machine.advance(start(secret, trigger=Trigger.MANUAL).pk)

    states = {"state": "GRACE"} | LABELS
    assert registry.get_sample_value("secret_rotation_state", states) == 1
    assert registry.get_sample_value("secret_rotation_attempts", LABELS) == 0
    assert registry.get_sample_value("secret_old_value_usable_seconds", LABELS) >= 0


def test_without_a_database_the_scrape_says_so(monkeypatch, registry):
    def away(*_):
        raise OperationalError

    monkeypatch.setattr(metrics.reading, "schedule", away)

    assert registry.get_sample_value("secret_rotation_up") == 0
    assert registry.get_sample_value("secret_overdue", LABELS) is None


def test_metrics_are_served(client, make_secret):
    make_secret()

    answer = client.get("/metrics")

    assert b'secret_overdue{secret_name="postgres_password",secret_type="DATABASE"} 0.0' in (
        answer.content
    )

from datetime import timedelta

import pytest
from django.utils import timezone

from audit.capture.actors import Actor, acting_as
from secrets_rotation.models import Policy, PolicyOverride, Secret
from secrets_rotation.rotators.registry import ROTATORS
from tests.secrets_rotation.paper import PAPERS, Paper, PaperRotator


@pytest.fixture(autouse=True)
def _somebody_acts():
    with acting_as(Actor("user", "olivia", user_id=7)):
        yield


@pytest.fixture
def make_secret(monkeypatch):
    monkeypatch.setitem(ROTATORS, "paper", PaperRotator)

    def make(name="postgres_password", *, secret_type="DATABASE", rules=None, **overrides):
        target = f"{secret_type} {name}"
        PAPERS[target] = Paper()
        defaults = {
            "policy": Policy.objects.get(secret_type=secret_type),
            "rotator": "paper",
            "target": {"name": target},
            "anchored_on": timezone.now().date(),
        }
        secret = Secret.objects.create(name=name, **defaults | overrides)
        if rules:
            PolicyOverride.objects.create(secret=secret, **rules)
        return secret

    yield make
    PAPERS.clear()


@pytest.fixture
def paper_of():
    return lambda secret: PAPERS[secret.target["name"]]


@pytest.fixture
def no_grace():
    return {"grace": timedelta(0)}

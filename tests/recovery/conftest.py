import pytest
import redis

from recovery.health import callers, heartbeat, probes
from tests.recovery.shop import (  # noqa: F401  fixtures
    admin_url,
    backup,
    backups_folder,
    busy,
    run_sql,
    shop,
)


@pytest.fixture
def broker(settings):
    """The broker without the tasks and the workers of other tests."""
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        names = (heartbeat.WORKERS, *heartbeat.QUEUES)
        client.delete(*names)
        yield client
        client.delete(*names)


@pytest.fixture
def one_worker(broker):
    """A worker that has just said that it lives, and has nothing to do."""
    heartbeat.Heart().beat("celery@test")


@pytest.fixture
def patient(monkeypatch):
    """Wait longer than a busy machine needs to answer; not for tests of the deadlines."""
    monkeypatch.setattr(probes, "DEADLINE_SECONDS", 30.0)
    monkeypatch.setattr(probes, "CHECK_SECONDS", 29.0)
    monkeypatch.setattr(callers, "PATIENCE_SECONDS", 30.0)

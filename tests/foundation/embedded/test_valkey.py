import pytest
import redis

from compliance_site.foundation.embedded import valkey
from compliance_site.foundation.embedded.home import find_home


def test_a_killed_server_is_started_again_with_its_queue(var, start, broker):
    with broker(start(var)) as client:
        client.rpush("celery", "a queued task")
    valkey.find(find_home(var)).kill()

    with broker(start(var)) as client:
        assert client.lrange("celery", 0, -1) == ["a queued task"]


def test_the_server_refuses_who_has_no_password(shared):
    url = shared[1].redis_url
    with (
        redis.Redis.from_url(f"redis://{url.split('@')[1]}") as stranger,
        pytest.raises(redis.AuthenticationError),
    ):
        stranger.ping()


def test_the_configuration_is_closed_to_others_and_listens_on_loopback(shared, broker):
    var, endpoints = shared
    with broker(endpoints) as client:
        assert client.config_get("bind") == {"bind": "127.0.0.1"}

    assert (find_home(var).path / "valkey.conf").stat().st_mode & 0o777 == 0o600

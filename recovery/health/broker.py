"""The console's connection to its broker: short timeouts, no second attempts."""

from __future__ import annotations

import time

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

# A connection that is as good as gone.
LEAST_SECONDS = 0.05


def broker(deadline: float) -> redis.Redis:
    """Return a client of which no answer is waited for past the deadline; close it after use.

    It raises `redis.RedisError`.
    """
    seconds = max(LEAST_SECONDS, deadline - time.monotonic())
    return redis.Redis.from_url(
        settings.REDIS_URL,
        socket_timeout=seconds,
        socket_connect_timeout=seconds,
        retry=Retry(NoBackoff(), 0),
    )

"""How many events an account may send in a minute, counted in Redis for all processes."""

from __future__ import annotations

import logging
import time
from functools import lru_cache

from django.conf import settings
from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.retry import Retry

logger = logging.getLogger(__name__)

WINDOW_SECONDS = 60
TIMEOUT_SECONDS = 0.25
# Each sender would wait for the timeout with each batch.
PAUSE_SECONDS = 10.0

_paused_until = 0.0


def seconds_to_wait(account: str, events: int) -> int:
    """Count the events and return 0, or how long to wait when they are too many.

    What is refused is not counted. Without Redis everything passes: losing evidence is
    worse than taking in too much, and the log says that nobody counted.
    """
    global _paused_until
    if time.monotonic() < _paused_until:
        return 0
    try:
        return _count(account, events, time.time())
    except RedisError as exc:
        _paused_until = time.monotonic() + PAUSE_SECONDS
        logger.warning("Redis is away, ingest goes on uncounted: %s.", type(exc).__name__)
        return 0


def _count(account: str, events: int, now: float) -> int:
    window, passed = divmod(int(now), WINDOW_SECONDS)
    key = f"audit:ingest:{account}:{window}"
    redis = _redis(settings.REDIS_URL)
    with redis.pipeline() as counting:
        counting.incrby(key, events)
        # The clocks of two servers differ a little: keep it a window longer.
        counting.expire(key, 2 * WINDOW_SECONDS)
        counted, _ = counting.execute()
    if counted <= settings.AUDIT_INGEST_EVENTS_PER_MINUTE:
        return 0
    redis.decrby(key, events)
    return WINDOW_SECONDS - passed


@lru_cache(maxsize=1)
def _redis(url: str) -> Redis:
    return Redis.from_url(
        url,
        socket_timeout=TIMEOUT_SECONDS,
        socket_connect_timeout=TIMEOUT_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )

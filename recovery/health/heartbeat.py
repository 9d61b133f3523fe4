"""Workers say in the broker that they live, and every task carries when it was sent.

Both are read by the check of Celery. The clock is the broker's where two machines' clocks would
be compared; a task's age is told by its sender's, to minutes.
"""

from __future__ import annotations

import json
import logging
import time
from datetime import timedelta
from typing import Any, cast

import redis
from celery.signals import before_task_publish, heartbeat_sent
from redis.exceptions import RedisError

from recovery.health.broker import broker

logger = logging.getLogger(__name__)

# A sorted set: name of the worker, and when it last said that it lives.
WORKERS = "compliance:workers"
QUEUES = ("celery", "recovery")
PUBLISHED_AT = "published_at"
BEAT_SECONDS = 5.0
# Several beats may be missed, by a worker whose machine is busy.
ALIVE_SECONDS = 20.0
FORGOTTEN_SECONDS = 3600.0
PATIENCE_SECONDS = 0.5


class Heart:
    """Beats for one worker process, no more often than need be."""

    def __init__(self) -> None:
        self._next = 0.0

    def beat(self, worker: str) -> None:
        """Write that the worker lives; a broker that is away will be told the next time."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + BEAT_SECONDS
        try:
            with broker(time.monotonic() + PATIENCE_SECONDS) as client:
                now = _clock(client)
                client.zadd(WORKERS, {worker: now})
                client.zremrangebyscore(WORKERS, 0, now - FORGOTTEN_SECONDS)
        except RedisError as exc:
            logger.warning("The worker's heartbeat was not written: %s.", type(exc).__name__)


_heart = Heart()


def connect() -> None:
    """Have Celery's own heartbeat and its publishing tell us; both are signals of Celery."""
    heartbeat_sent.connect(_beat, dispatch_uid="recovery.health.beat")
    before_task_publish.connect(_stamp, dispatch_uid="recovery.health.stamp")


def active_workers(client: redis.Redis) -> int:
    """Count the workers that said of late that they live."""
    since = _clock(client) - ALIVE_SECONDS
    return client.zcount(WORKERS, since, "+inf")


def oldest_task(client: redis.Redis) -> timedelta | None:
    """Return how long the next task of a queue has waited, of all queues the longest.

    None when none waits. One message of each queue is read, and they are small: tasks get ids.
    """
    now = time.time()
    ages = [now - sent for queue in QUEUES if (sent := _next_sent_at(client, queue)) is not None]
    return timedelta(seconds=max(0.0, *ages)) if ages else None


def _beat(sender: Any, **kwargs: Any) -> None:
    _heart.beat(sender.eventer.hostname)


def _stamp(headers: dict[str, Any] | None = None, **kwargs: Any) -> None:
    if headers is not None:
        headers[PUBLISHED_AT] = time.time()


def _next_sent_at(client: redis.Redis, queue: str) -> float | None:
    # Kombu pushes at the left and takes from the right.
    message = cast(bytes | None, client.lindex(queue, -1))
    if message is None:
        return None
    try:
        return float(json.loads(message)["headers"][PUBLISHED_AT])
    except (ValueError, TypeError, KeyError):
        # Sent by another program, or by a release that did not stamp.
        return None


def _clock(client: redis.Redis) -> float:
    seconds, microseconds = client.time()
    return seconds + microseconds / 1_000_000

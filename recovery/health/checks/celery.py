from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

from redis import exceptions

from recovery.health import heartbeat
from recovery.health.broker import broker
from recovery.health.results import Degraded, Figures, Status, Unhealthy

# Longer than a burst of rotations or a backup before this one keeps the workers busy.
LONGEST_WAIT = timedelta(minutes=5)


@dataclass(frozen=True)
class Celery:
    """Workers live, and do not leave tasks lying.

    By the heartbeats that workers write and the age of the oldest task of each queue: a ping
    goes through the same broker, hangs with it, and says nothing of a worker that takes no tasks.
    """

    name: ClassVar[str] = "celery"
    when_silent: ClassVar[Status] = Status.UNHEALTHY

    def run(self, deadline: float) -> Figures:
        try:
            with broker(deadline) as client:
                workers = heartbeat.active_workers(client)
                oldest = heartbeat.oldest_task(client)
        except exceptions.TimeoutError:
            raise TimeoutError from None
        except exceptions.RedisError:
            raise Unhealthy("The broker cannot be asked.") from None
        waits = None if oldest is None else round(oldest.total_seconds())
        figures: Figures = {"active_workers": workers, "oldest_task_seconds": waits}
        if not workers:
            raise Unhealthy("No worker has said that it lives.", figures)
        if oldest is not None and oldest > LONGEST_WAIT:
            raise Degraded("Tasks wait longer than five minutes for a worker.", figures)
        return figures

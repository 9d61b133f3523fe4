from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from redis import exceptions

from recovery.health.broker import broker
from recovery.health.results import Figures, Status, Unhealthy

KEY = "compliance:health"
KEY_SECONDS = 60


@dataclass(frozen=True)
class Redis:
    """The broker takes a key.

    Written, not only pinged: a replica, or a server whose disk or memory is full, answers pings
    and takes no tasks.
    """

    name: ClassVar[str] = "redis"
    when_silent: ClassVar[Status] = Status.UNHEALTHY

    def run(self, deadline: float) -> Figures:
        try:
            with broker(deadline) as client:
                client.set(KEY, 1, ex=KEY_SECONDS)
        except exceptions.TimeoutError:
            raise TimeoutError from None
        except exceptions.BusyLoadingError:
            raise Unhealthy("It is still loading its data.") from None
        except exceptions.ConnectionError:
            raise Unhealthy("It refuses connections, or is not there.") from None
        except exceptions.RedisError:
            raise Unhealthy("It takes no changes.") from None
        return {}

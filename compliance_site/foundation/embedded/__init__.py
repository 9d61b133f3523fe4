"""PostgreSQL and Valkey from wheels, for a console whose DATABASE_URL and REDIS_URL are unset.

Everything here works on the checkout's `var/` folder and knows neither Django nor settings:
settings read `endpoints()`, and services start before settings load.
"""

from compliance_site.foundation.embedded.exceptions import EmbeddedError
from compliance_site.foundation.embedded.identity import Endpoints, endpoints
from compliance_site.foundation.embedded.services import (
    Status,
    answer,
    postgres_programs,
    remove,
    running,
    start,
    status,
    stop,
)

__all__ = [
    "EmbeddedError",
    "Endpoints",
    "Status",
    "answer",
    "endpoints",
    "postgres_programs",
    "remove",
    "running",
    "start",
    "status",
    "stop",
]

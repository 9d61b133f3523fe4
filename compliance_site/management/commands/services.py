"""`manage.py services`: where PostgreSQL and Redis are, for scripts."""

from __future__ import annotations

import json
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from compliance_site.foundation import embedded


class Command(BaseCommand):
    help = "Print the addresses of PostgreSQL and Redis, passwords included, as one JSON object; start nothing."
    # Addresses are wanted most when something is wrong.
    requires_system_checks = ()

    def handle(self, **options: Any) -> str:
        addresses = {
            "database": {"url": settings.DATABASE_URL, "ownerUrl": settings.DATABASE_OWNER_URL},
            "redis": {"url": settings.REDIS_URL},
            "running": embedded.answer(settings.DATABASE_URL, settings.REDIS_URL),
        }
        return json.dumps(addresses)

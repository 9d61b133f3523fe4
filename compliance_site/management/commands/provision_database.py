from __future__ import annotations

from typing import Any

import psycopg
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError

from compliance_site.foundation.database import Role, provision
from compliance_site.foundation.env import env_secret


class Command(BaseCommand):
    help = (
        "Make the console's two roles and its database on a PostgreSQL server. "
        "Names and passwords come from DATABASE_URL and DATABASE_OWNER_URL; the administrator's "
        "URL comes from DATABASE_ADMIN_URL (or DATABASE_ADMIN_URL_FILE), never from an argument. "
        "Safe to run again.  Example: DATABASE_ADMIN_URL=postgresql://postgres:...@db/postgres "
        "manage.py provision_database && manage.py migrate"
    )
    requires_system_checks: list[str] = []

    def handle(self, **options: Any) -> str:
        admin_url = env_secret("DATABASE_ADMIN_URL")
        if not settings.DATABASE_OWNER_URL:
            raise CommandError("DATABASE_OWNER_URL is not set.")
        database = settings.DATABASES["default"]["NAME"]
        owner, runtime = Role.of(settings.DATABASE_OWNER_URL), Role.of(settings.DATABASE_URL)
        if owner.name == runtime.name:
            raise CommandError("DATABASE_URL and DATABASE_OWNER_URL name the same role.")
        try:
            provision(admin_url, owner=owner, runtime=runtime, database=database)
        except ImproperlyConfigured as exc:
            raise CommandError(str(exc)) from exc
        except psycopg.Error as exc:
            raise CommandError(f"The server refused: {exc}") from exc
        return f"Database {database}: owner {owner.name}, runtime role {runtime.name}. Next: manage.py migrate"

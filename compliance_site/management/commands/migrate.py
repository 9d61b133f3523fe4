from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import CommandParser
from django.core.management.commands import migrate

from compliance_site.foundation.database import grant_runtime_rights


class Command(migrate.Command):
    """Django's `migrate`, as the owner role, followed by the runtime role's grants."""

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.set_defaults(database="owner")

    def handle(self, *args: Any, **options: Any) -> None:
        super().handle(*args, **options)
        runtime, owner = (settings.DATABASES[alias]["USER"] for alias in ("default", "owner"))
        if options["database"] == "owner" and runtime != owner and not options["check_unapplied"]:
            grant_runtime_rights(runtime)

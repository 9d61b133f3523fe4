from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import CommandParser
from django.core.management.commands import migrate

from compliance_site.foundation.database import grant_runtime_rights
from compliance_site.foundation.roles import make_groups


class Command(migrate.Command):
    """Django's `migrate`, as the owner role; then the runtime role's grants, and the groups."""

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.set_defaults(database="owner")

    def handle(self, *args: Any, **options: Any) -> None:
        super().handle(*args, **options)
        if options["database"] != "owner" or options["plan"] or options["check_unapplied"]:
            return
        runtime, owner = (settings.DATABASES[alias]["USER"] for alias in ("default", "owner"))
        if runtime != owner:
            grant_runtime_rights(runtime)
        if options["app_label"] is None:
            make_groups()

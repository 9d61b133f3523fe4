"""System checks: what would only be found out by the backups that are not made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register

from recovery.databases import databases
from recovery.exceptions import ConfigurationError

HINT = "Give every service BACKUP_DATABASE_NAMES, and the worker of the queue recovery both."


@register(Tags.security)
def databases_have_the_names_that_others_know(
    app_configs: Sequence[Any] | None, **kwargs: Any
) -> list[CheckMessage]:
    """Report recovery.E001, where both variables are known."""
    if not (settings.BACKUP_DATABASES and settings.BACKUP_DATABASE_NAMES):
        return []
    try:
        databases()
    except ConfigurationError as exc:
        return [Error(str(exc), hint=HINT, id="recovery.E001")]
    return []

"""What a change of policy would do, before it is saved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils import timezone

from secrets_rotation.models import Policy, Secret


@dataclass(frozen=True)
class Effect:
    """When one secret is due by the policy as it is, and as it would be."""

    secret_id: int
    secret_name: str
    due_at: datetime
    due_at_then: datetime
    is_automatic: bool

    def becomes_due(self, now: datetime) -> bool:
        return self.due_at_then <= now < self.due_at


def preview(policy: Policy, rules: Mapping[str, Any]) -> list[Effect]:
    """Return what the rules would change for each living secret of the type, soonest first.

    The database's own arithmetic tells, inside a transaction that is taken back.
    """
    secrets = Secret.objects.living().filter(policy=policy).with_due()
    before = dict(secrets.values_list("pk", "due_at"))  # type: ignore[misc]  # annotated
    with transaction.atomic():
        Policy.objects.filter(pk=policy.pk).update(**rules)
        then = list(
            secrets.automatic().values_list("pk", "name", "due_at", "is_automatic")  # type: ignore[misc]  # annotated
        )
        transaction.set_rollback(True)
    effects = [
        Effect(pk, name, before[pk], due_at, is_automatic)
        for pk, name, due_at, is_automatic in then
        if pk in before
    ]
    return sorted(effects, key=lambda effect: (effect.due_at_then, effect.secret_name))


def becoming_due(effects: list[Effect], now: datetime | None = None) -> list[Effect]:
    """Return the effects on secrets that would be due at once."""
    now = now or timezone.now()
    return [effect for effect in effects if effect.becomes_due(now)]

"""Change the policy of a type, once it is known to work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import transaction

from audit.capture.recording import record
from audit.models import Action
from secrets_rotation.models import Policy, PolicyOverride
from secrets_rotation.policies.preview import Effect, becoming_due, preview
from secrets_rotation.policies.rules import PolicyError, merged, own_rules, problems


def change_policy(policy: Policy, rules: Mapping[str, Any]) -> list[Effect]:
    """Change some rules; return the secrets that are due at once by them.

    Raise `PolicyError` naming each rule that cannot be; then nothing has changed.
    """
    with transaction.atomic():
        policy = Policy.objects.select_for_update().get(pk=policy.pk)
        effects = effects_of(policy, rules)
        before = {name: str(getattr(policy, name)) for name in rules}
        Policy.objects.filter(pk=policy.pk).update(**rules)
        record(
            Action.UPDATE,
            resource=f"/secrets/rotation/policy/{policy.pk}",
            details={
                "before": before,
                "after": {name: str(value) for name, value in rules.items()},
            },
        )
    return becoming_due(effects)


def effects_of(policy: Policy, rules: Mapping[str, Any]) -> list[Effect]:
    """Return what the rules would change; raise `PolicyError` when they cannot be."""
    whole = merged(policy, None) | dict(rules)
    if found := problems(whole) or _problems_of_overrides(policy, whole):
        raise PolicyError(found)
    return preview(policy, rules)


def _problems_of_overrides(policy: Policy, whole: Mapping[str, Any]) -> dict[str, str]:
    """Say what cannot work with what a secret does otherwise than its type."""
    overrides = PolicyOverride.objects.filter(secret__policy=policy, secret__retired_at=None)
    found: dict[str, str] = {}
    for override in overrides.select_related("secret").order_by("secret__name"):
        for name, problem in problems({**whole, **own_rules(override)}).items():
            found.setdefault(name, f"With the override of {override.secret.name}: {problem}")
    return found

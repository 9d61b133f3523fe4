"""The policy of a type: its rules, and what others would change before they are saved."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import PermissionDenied
from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from compliance_site.foundation.admin_pages import for_readers, go
from secrets_rotation.admin.pages import may_act, page
from secrets_rotation.admin.rules_form import RulesForm, as_initial
from secrets_rotation.models import Policy
from secrets_rotation.policies.change import change_policy, effects_of
from secrets_rotation.policies.preview import Effect, becoming_due
from secrets_rotation.policies.rules import PolicyError

POLICIES = "admin:secrets_rotation_policy_changelist"


@dataclass(frozen=True)
class Preview:
    """What rules would change; `seen` names them, so that no others are saved on its strength."""

    effects: tuple[Effect, ...]
    due: frozenset[int]
    seen: str

    @property
    def moved(self) -> int:
        return sum(effect.due_at != effect.due_at_then for effect in self.effects)


@for_readers
@require_safe
def listing(request: HttpRequest) -> HttpResponse:
    """List the policy of each type of secrets."""
    living = Count("secrets", filter=Q(secrets__retired_at=None))
    own = Count("secrets__override", filter=Q(secrets__retired_at=None))
    policies = Policy.objects.annotate(number=living, overrides=own)
    return page(request, "policies.html", "Policies", policies=policies)


@for_readers
@require_http_methods(["GET", "HEAD", "POST"])
def detail(request: HttpRequest, secret_type: str) -> HttpResponse:
    """Show the rules of a type; preview others, and save those that were previewed."""
    policy = get_object_or_404(Policy, pk=secret_type)
    if request.method != "POST":
        form = RulesForm(initial=as_initial(policy))
        return _form_page(request, policy, form)
    if not may_act(request.user):
        raise PermissionDenied
    form = RulesForm(request.POST)
    preview = _preview(policy, form)
    if preview is None or request.POST.get("seen") != preview.seen:
        return _form_page(request, policy, form, preview)
    due = change_policy(policy, _changes(policy, form.rules()))
    return go(request, _saved(policy, due), POLICIES)


def _form_page(
    request: HttpRequest, policy: Policy, form: RulesForm, preview: Preview | None = None
) -> HttpResponse:
    was_saved = bool(request.POST.get("seen")) and preview is not None
    title = f"Policy of {policy.secret_type}"
    context: dict[str, Any] = {
        "policy": policy,
        "form": form,
        "preview": preview,
        "now": timezone.now(),
    }
    return page(request, "policy.html", title, has_moved_on=was_saved, **context)


def _preview(policy: Policy, form: RulesForm) -> Preview | None:
    """Return what the form's rules would change; None when they cannot be or change nothing."""
    if not form.is_valid():
        return None
    changes = _changes(policy, form.rules())
    if not changes:
        form.add_error(None, "These are the rules that hold already.")
        return None
    try:
        effects = effects_of(policy, changes)
    except PolicyError as exc:
        form.add_problems(exc.fields)
        return None
    due = frozenset(effect.secret_id for effect in becoming_due(effects))
    seen = json.dumps([changes, sorted(due)], cls=DjangoJSONEncoder, sort_keys=True)
    return Preview(tuple(effects), due, seen)


def _changes(policy: Policy, rules: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in rules.items() if getattr(policy, name) != value}


def _saved(policy: Policy, due: list[Effect]) -> str:
    if not due:
        return f"The policy of {policy.secret_type} is saved. No secret is due by it at once."
    names = ", ".join(effect.secret_name for effect in due)
    return f"The policy of {policy.secret_type} is saved. Due at once by it: {names}."

"""The list of secrets: how each stands with its schedule."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django import forms
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from compliance_site.foundation.admin_pages import for_readers
from secrets_rotation.admin.pages import page
from secrets_rotation.models import Policy, Secret
from secrets_rotation.models.secrets import SecretQuerySet
from secrets_rotation.overview import overview
from secrets_rotation.reading import Scheduled, Status, schedule

PAGE_SIZE = 100


@dataclass(frozen=True)
class Filter:
    """One question of the list: what may be answered, and what was."""

    name: str
    label: str
    choices: tuple[str, ...]
    chosen: str


class ListingForm(forms.Form):
    q = forms.CharField(required=False, max_length=200)
    type = forms.CharField(required=False, max_length=50)
    status = forms.ChoiceField(required=False, choices=[(each, each) for each in Status])
    rotator = forms.CharField(required=False, max_length=50)
    tag = forms.CharField(required=False, max_length=50)
    page = forms.IntegerField(required=False, min_value=1)


@for_readers
@require_safe
def listing(request: HttpRequest) -> HttpResponse:
    """List the living secrets, the soonest due first; the retired ones when they are asked for."""
    form = ListingForm(request.GET)
    form.full_clean()
    asked = form.cleaned_data
    rows = [] if form.errors else _matching(asked)
    number = asked.get("page") or 1
    shown = rows[(number - 1) * PAGE_SIZE : number * PAGE_SIZE]
    return page(
        request,
        "secrets.html",
        "Secrets",
        overview=overview(),
        rows=shown,
        count=len(rows),
        filters=_filters(request),
        search=request.GET.get("q", ""),
        errors=form.errors,
        is_filtered=any(value for name, value in asked.items() if name != "page"),
        newer=_query(request, number - 1) if number > 1 else "",
        older=_query(request, number + 1) if number * PAGE_SIZE < len(rows) else "",
    )


def _matching(asked: dict[str, Any]) -> list[Scheduled]:
    rows = schedule(_secrets(asked))
    if not asked["status"]:
        return rows
    return [row for row in rows if row.status == asked["status"]]


def _secrets(asked: dict[str, Any]) -> SecretQuerySet:
    wants_retired = asked["status"] == Status.RETIRED
    secrets = Secret.objects.filter(retired_at__isnull=not wants_retired)
    if asked["type"]:
        secrets = secrets.filter(policy=asked["type"])
    if asked["rotator"]:
        secrets = secrets.filter(rotator=asked["rotator"])
    if asked["tag"]:
        secrets = secrets.filter(tags__contains=[asked["tag"]])
    if text := asked["q"]:
        secrets = secrets.filter(
            Q(name__icontains=text) | Q(owner__icontains=text) | Q(tags__contains=[text])
        )
    return secrets


def _filters(request: HttpRequest) -> list[Filter]:
    secrets = Secret.objects.living()
    tags = {tag for tags in secrets.values_list("tags", flat=True) for tag in tags}
    rotators = secrets.order_by("rotator").values_list("rotator", flat=True).distinct()
    offered: tuple[tuple[str, str, Iterable[str]], ...] = (
        ("type", "Type", Policy.objects.values_list("pk", flat=True)),
        ("status", "Status", Status),
        ("rotator", "Rotator", rotators),
        ("tag", "Tag", sorted(tags)),
    )
    return [
        Filter(name, label, tuple(str(choice) for choice in choices), request.GET.get(name, ""))
        for name, label, choices in offered
    ]


def _query(request: HttpRequest, number: int) -> str:
    params = request.GET.copy()
    params["page"] = str(number)
    return f"?{params.urlencode()}"

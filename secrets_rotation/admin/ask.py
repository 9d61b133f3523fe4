"""Ask for an emergency rotation: first what it would do, then, seen, the request for it."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_http_methods

from compliance_site.foundation.admin_pages import go
from secrets_rotation import break_glass
from secrets_rotation.admin.pages import for_officers, page
from secrets_rotation.break_glass import Selection
from secrets_rotation.break_glass_plan import Planned, plan
from secrets_rotation.exceptions import NothingSelectedError
from secrets_rotation.models import BreakGlass, BreakGlassState, Secret

EMERGENCY_PAGE = "admin:secrets_rotation_breakglass_change"
ASKED = "It is asked for. Another security officer has to approve it before anything is rotated."


@dataclass(frozen=True)
class Preview:
    """What would be done; `seen` names it, so that nothing else is asked for on its strength."""

    selection: Selection
    planned: tuple[Planned, ...]
    seen: str

    @property
    def obstacles(self) -> int:
        return sum(bool(each.obstacle) for each in self.planned)

    @property
    def rotates(self) -> int:
        return len(self.planned) - self.obstacles


class AskForm(forms.Form):
    """Which secrets and why; only what there is can be chosen."""

    selection = forms.ChoiceField(
        label="Which secrets", help_text="A type, or a tag; with how many secrets it has."
    )
    reason = forms.CharField(
        max_length=500,
        widget=forms.Textarea({"rows": 3}),
        help_text="What happened, for the officer who approves it and for the report.",
    )
    is_without_grace = forms.BooleanField(
        required=False,
        label="Without grace",
        help_text="The old values end as soon as the new ones are delivered, whoever still uses"
        " them. For values that are known to have leaked.",
    )

    def __init__(self, data: Any = None) -> None:
        super().__init__(data)
        self.fields["selection"].choices = _choices()  # type: ignore[attr-defined]

    def clean_selection(self) -> Selection:
        kind, _, word = self.cleaned_data["selection"].partition(":")
        selection = Selection(secret_type=word) if kind == "type" else Selection(tag=word)
        waiting = BreakGlass.objects.filter(
            selection=str(selection), state=BreakGlassState.REQUESTED
        ).first()
        if waiting:
            raise forms.ValidationError(
                f"Emergency {waiting.pk} for {selection} waits for its approval already."
            )
        return selection


@for_officers
@require_http_methods(["GET", "HEAD", "POST"])
def ask(request: HttpRequest) -> HttpResponse:
    """Say what would be rotated, and ask for it once that was seen."""
    form = AskForm(request.POST if request.method == "POST" else None)
    preview = _preview(form) if form.is_valid() else None
    seen = request.POST.get("seen")
    if preview and seen == preview.seen and (emergency := _asked(form)):
        return go(request, ASKED, EMERGENCY_PAGE, emergency.pk)
    context = {"form": form, "preview": preview, "has_moved_on": bool(seen and preview)}
    return page(request, "ask.html", "Ask for an emergency rotation", **context)


def _asked(form: AskForm) -> BreakGlass | None:
    said = form.cleaned_data
    try:
        return break_glass.request(
            said["selection"], reason=said["reason"], is_without_grace=said["is_without_grace"]
        )
    except NothingSelectedError as exc:
        form.add_error("selection", str(exc))
    return None


def _preview(form: AskForm) -> Preview:
    said = form.cleaned_data
    planned = plan(said["selection"].secrets)
    # The reason may still be put better; what is rotated and how may not be another.
    seen = json.dumps(
        [
            str(said["selection"]),
            said["is_without_grace"],
            [[each.secret.pk, each.place, bool(each.obstacle)] for each in planned],
        ]
    )
    return Preview(said["selection"], tuple(planned), seen)


def _choices() -> list[Any]:
    """Return types and tags of living secrets, each with how many it has."""
    rows = Secret.objects.living().values_list("policy", "tags")
    types = Counter(secret_type for secret_type, _ in rows)
    tags = Counter(tag for _, tags in rows for tag in set(tags))
    return [("", "choose")] + [
        (title, [(f"{kind}:{word}", f"{word} ({count})") for word, count in sorted(found.items())])
        for kind, title, found in (("type", "Type", types), ("tag", "Tag", tags))
        if found
    ]

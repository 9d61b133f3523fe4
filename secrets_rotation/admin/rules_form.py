"""A form of rules: all of them for a type's policy, any of them for one secret."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import time, timedelta
from typing import Any

from django import forms

from secrets_rotation.models import Unit

UNITS = {
    "days": timedelta(days=1),
    "hours": timedelta(hours=1),
    "minutes": timedelta(minutes=1),
    "seconds": timedelta(seconds=1),
}
AS_THE_TYPE = ("", "as the type says")
AUTOMATIC = [("true", "The console, when it is due"), ("false", "A person")]
# Beyond what the policies allow, within what the database and a span of time can hold.
LARGEST_NUMBER = 32_000


def clock() -> forms.TimeInput:
    """Return a plain input: a browser's own would show UTC as a reader's a.m. and p.m."""
    return forms.TimeInput({"placeholder": "22:00", "autocomplete": "off"}, "%H:%M")


class Number(forms.IntegerField):
    """A number that may be absurd, which the policies then say, but not too large to look at."""

    def __init__(self, **options: Any) -> None:
        super().__init__(min_value=-LARGEST_NUMBER, max_value=LARGEST_NUMBER, **options)
        # The browser is to say nothing of such bounds.
        self.widget.attrs = {}


class RulesForm(forms.Form):
    """Rules as people say them: a number and a unit for each span of time."""

    interval = Number(label="Rotates every")
    interval_unit = forms.ChoiceField(label="Unit of the interval", choices=Unit.choices)
    grace = Number(
        label="Grace period",
        help_text="How long the old value goes on working after the new one is out.",
    )
    grace_unit = forms.ChoiceField(
        label="Unit of the grace period", choices=[(name, name) for name in UNITS]
    )
    auto_rotate = forms.TypedChoiceField(
        label="Who begins",
        choices=AUTOMATIC,
        coerce=lambda text: text == "true",
        empty_value=None,
    )
    window_start = forms.TimeField(label="Begins from (UTC)", widget=clock())
    window_end = forms.TimeField(
        label="Begins before (UTC)",
        help_text="The same time twice means the whole day.",
        widget=clock(),
    )
    history_length = Number(label="Differs from so many earlier values")
    value_length = Number(label="Length of generated values")
    value_symbols = forms.CharField(
        label="Symbols in generated values",
        required=False,
        max_length=40,
        help_text="Beside letters and digits; empty for none.",
    )

    def clean(self) -> dict[str, Any]:
        """Refuse half a window: its other end would be the type's."""
        cleaned = self.cleaned_data
        ends = {name: cleaned.get(name) for name in ("window_start", "window_end")}
        missing = [name for name, value in ends.items() if value is None and name in cleaned]
        if len(missing) == 1:
            self.add_error(missing[0], "Give both ends of the window, or neither.")
        return cleaned

    def rules(self) -> dict[str, Any]:
        """Return each rule by its name, None where it was left empty."""
        given = dict(self.cleaned_data)
        number, unit = given["grace"], UNITS.get(given.pop("grace_unit"))
        given["grace"] = None if number is None or unit is None else number * unit
        if given["interval"] is None:
            given["interval_unit"] = None
        return given

    def add_problems(self, problems: Mapping[str, str]) -> None:
        """Show each problem at its rule."""
        for name, problem in problems.items():
            self.add_error(name if name in self.fields else None, problem)


class OverrideForm(RulesForm):
    """What one secret does otherwise than its type: whatever is empty is as the type says."""

    value_symbols = None  # type: ignore[assignment]  # empty could not be told from none

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs | {"prefix": "rules"})
        for field in self.fields.values():
            field.required = False
        self.fields["auto_rotate"].choices = [AS_THE_TYPE, *AUTOMATIC]  # type: ignore[attr-defined]


def as_initial(rules: Any) -> dict[str, Any]:
    """Return what the form begins with, of a policy or an override; {} for none."""
    if rules is None:
        return {}
    values = {name: getattr(rules, name) for name in RulesForm.base_fields if hasattr(rules, name)}
    if rules.grace is not None:
        values["grace"], values["grace_unit"] = number_and_unit(rules.grace)
    if rules.auto_rotate is not None:
        values["auto_rotate"] = "true" if rules.auto_rotate else "false"
    return {name: _shown(value) for name, value in values.items() if value is not None}


def number_and_unit(span: timedelta) -> tuple[int, str]:
    """Return the span in the largest unit in which it is a whole number."""
    whole = (name for name, unit in UNITS.items() if not span % unit)
    name = next(whole, "seconds")
    return span // UNITS[name], name


def _shown(value: Any) -> Any:
    return f"{value:%H:%M}" if isinstance(value, time) else value

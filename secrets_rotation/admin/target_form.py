"""A form made of the settings that a rotator or a destination declares.

The secret ones can only be written.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django import forms

from compliance_site.foundation.secret_text import SecretText
from secrets_rotation.admin.fields import SecretTextarea, SecretTextField
from secrets_rotation.declared import Setting
from secrets_rotation.delivery.destinations.base import Destination
from secrets_rotation.rotators.base import Rotator

LONGEST = 10_000
YES_NO = [("", "as by default"), ("true", "yes"), ("false", "no")]
STORED = "Stored. Leave it empty to keep what is there."


@dataclass(frozen=True)
class Described:
    """A rotator or destination as pages name it: a template would call the class itself."""

    name: str
    title: str
    summary: str


def described(kind: type[Rotator | Destination]) -> Described:
    return Described(kind.name, kind.title, kind.summary)


class LinesField(forms.CharField):
    """A text of several lines, ended as they are stored: browsers send each with a return."""

    def __init__(self, **options: Any) -> None:
        area = forms.Textarea({"rows": 4, "spellcheck": "false", "class": "mono"})
        super().__init__(max_length=LONGEST, widget=area, strip=False, **options)

    def to_python(self, value: Any) -> str:
        return (super().to_python(value) or "").replace("\r\n", "\n")


class TargetForm(forms.Form):
    """The settings of a target or destination.

    `is_stored` when secret ones are kept where none are given.
    """

    def __init__(
        self,
        kind: type[Rotator | Destination],
        data: Any = None,
        shown: Mapping[str, Any] | None = None,
        *,
        is_stored: bool = False,
    ) -> None:
        initial = {name: _initial(value) for name, value in (shown or {}).items()}
        super().__init__(data, prefix="target", initial=initial)
        for setting in kind.settings:
            self.fields[setting.name] = _field(setting, is_stored=is_stored)

    def target(self) -> dict[str, Any]:
        """Return what was given, the secret settings in clear, as `catalogue` takes it."""
        given = {name: _plain(value) for name, value in self.cleaned_data.items()}
        return {name: value for name, value in given.items() if value not in (None, "")}

    def add_problems(self, problems: Mapping[str, str]) -> None:
        """Show each problem at its setting."""
        for name, problem in problems.items():
            self.add_error(name if name in self.fields else None, problem)


def _field(setting: Setting, *, is_stored: bool) -> forms.Field:
    keeps = setting.secret and is_stored
    options: dict[str, Any] = {
        "label": setting.name,
        "required": setting.required and not keeps,
        "help_text": f"{setting.help} {STORED}" if keeps else setting.help,
    }
    if setting.default not in (None, "") and not setting.secret:
        options["help_text"] += f" By default {_as_text(setting.default)}."
    if setting.secret:
        return _secret_field(setting, options)
    if setting.kind is int:
        return forms.IntegerField(**options)
    if setting.kind is bool:
        return forms.TypedChoiceField(
            choices=YES_NO, coerce=_is_true, empty_value=None, **options | {"required": False}
        )
    if setting.kind in (list, dict):
        return forms.JSONField(widget=_json_area(), **_as_json(options, setting))
    if setting.has_lines:
        return LinesField(**options)
    return forms.CharField(max_length=LONGEST, **options)


def _secret_field(setting: Setting, options: dict[str, Any]) -> forms.Field:
    if setting.kind is dict:
        return forms.JSONField(widget=SecretTextarea(), **_as_json(options, setting))
    return SecretTextField(**options)


def _as_json(options: dict[str, Any], setting: Setting) -> dict[str, Any]:
    example = '["one", "two"]' if setting.kind is list else '{"name": "text"}'
    help_text = f"{options['help_text']} JSON, such as {example}."
    return options | {"help_text": help_text, "validators": [_refuse_nul]}


def _refuse_nul(value: Any) -> None:
    # JSON can spell it, PostgreSQL cannot keep it.
    if "\\u0000" in json.dumps(value):
        raise forms.ValidationError("Null characters are not allowed.")


def _json_area() -> forms.Textarea:
    return forms.Textarea({"rows": 3, "spellcheck": "false", "class": "mono"})


def _is_true(text: str) -> bool:
    return text == "true"


def _plain(value: Any) -> Any:
    return value.reveal() if isinstance(value, SecretText) else value


def _initial(value: Any) -> Any:
    return _as_text(value) if isinstance(value, bool) else value


def _as_text(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value) if isinstance(value, list | dict) else value

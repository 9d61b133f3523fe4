"""Settings that rotators and destinations declare: checked at the door, split for storage.

What is secret among them is stored sealed, apart from the rest, and never given back.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from compliance_site.foundation.secret_text import SecretText
from secrets_rotation.exceptions import RotationError

# Half of a sign, which JSON can name and UTF-8 cannot hold.
SURROGATE = re.compile("[\ud800-\udfff]")
DEEPEST = 10
KINDS = {str: "a text", int: "a number", bool: "true or false", list: "a list", dict: "an object"}


class SettingsError(RotationError):
    """Settings are missing, unknown or of the wrong kind; `fields` says which and why."""

    def __init__(self, fields: dict[str, str]) -> None:
        super().__init__("; ".join(f"{name}: {problem}" for name, problem in fields.items()))
        self.fields = fields


@dataclass(frozen=True)
class Setting:
    """One declared setting.

    `kind` is str, int, bool, list or dict. A `secret` one is a str or a dict; it is stored
    sealed and never shown. One that is `required` has no default. A str with `has_lines` holds
    several lines, such as PEM.
    """

    name: str
    help: str
    kind: type = str
    default: Any = None
    required: bool = False
    secret: bool = False
    has_lines: bool = False


@dataclass(frozen=True)
class Checked:
    """Settings in two parts: what may be shown, and what is sealed (None when nothing is)."""

    shown: dict[str, Any]
    sealed: SecretText | None


def check(declared: Iterable[Setting], given: Mapping[str, Any]) -> Checked:
    """Split settings as they are stored; raise `SettingsError` naming every mistake at once."""
    by_name = {setting.name: setting for setting in declared}
    problems = {name: _unknown(name, by_name) for name in given if name not in by_name}
    for setting in by_name.values():
        if problem := _problem(setting, given.get(setting.name)):
            problems[setting.name] = problem
    if problems:
        raise SettingsError(problems)
    present = {name: value for name, value in given.items() if value is not None}
    secret = {name: value for name, value in present.items() if by_name[name].secret}
    shown = {name: value for name, value in present.items() if name not in secret}
    return Checked(shown, SecretText(json.dumps(secret)) if secret else None)


def merged(
    declared: Iterable[Setting], shown: Mapping[str, Any], sealed: SecretText | None
) -> dict[str, Any]:
    """Return all settings with their defaults, the secret texts among them as `SecretText`."""
    secret = secret_settings(sealed)
    values = {setting.name: setting.default for setting in declared} | dict(shown)
    return values | {name: _wrapped(value) for name, value in secret.items()}


def secret_settings(sealed: SecretText | None) -> dict[str, Any]:
    """Return the clear secret settings, for `check` and `merged` alone."""
    return dict(json.loads(sealed.reveal())) if sealed else {}


def refuse_another_address(
    address: Iterable[str],
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    kept: Iterable[str],
) -> None:
    """Raise `SettingsError` when secret settings that are kept would go somewhere else.

    Or whoever may change an address could have them sent to one of his own.
    """
    moved = any(before[name] != after[name] for name in address)
    if moved and (fields := dict.fromkeys(kept, "It would go to another address: give it again.")):
        raise SettingsError(fields)


def _wrapped(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _wrapped(inner) for key, inner in value.items()}
    return SecretText(value) if isinstance(value, str) else value


def _problem(setting: Setting, value: Any) -> str:
    if value is None or (value == "" and setting.kind is str):
        return "This setting is required." if setting.required else ""
    if not _is_storable(value):
        return "This holds signs or numbers that cannot be stored, or is nested too deeply."
    is_right = isinstance(value, setting.kind) and (
        setting.kind is bool or not isinstance(value, bool)
    )
    return "" if is_right else f"This is not {KINDS[setting.kind]}."


def _is_storable(value: Any, depth: int = 0) -> bool:
    """Tell whether the database takes the value as JSON, and every target as UTF-8."""
    if isinstance(value, str):
        return "\0" not in value and not SURROGATE.search(value)
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, dict | list) and depth == DEEPEST:
        return False
    if isinstance(value, dict):
        value = [*value, *value.values()]
    return not isinstance(value, list) or all(_is_storable(each, depth + 1) for each in value)


def _unknown(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    if near:
        return f"Unknown setting; did you mean {near[0]}?"
    return f"Unknown setting; known are {', '.join(known) or 'none'}."

from __future__ import annotations

import json
from argparse import RawDescriptionHelpFormatter
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from secrets_rotation.declared import Setting
from secrets_rotation.rotators.base import Rotator
from secrets_rotation.rotators.registry import ROTATORS

EXAMPLES = """examples:
  manage.py rotators           what can be rotated, and the settings of each target
  manage.py rotators --json    the same for programs
"""


class Command(BaseCommand):
    help = "List the rotators and the settings that their targets take."

    def create_parser(self, *args: Any, **kwargs: Any) -> CommandParser:
        kwargs |= {"epilog": EXAMPLES, "formatter_class": RawDescriptionHelpFormatter}
        return super().create_parser(*args, **kwargs)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print one JSON list")

    def handle(self, *, json: bool, **options: Any) -> str:
        return _as_json() if json else "\n\n".join(map(_as_text, ROTATORS.values()))


def _as_json() -> str:
    return json.dumps([_described(rotator) for rotator in ROTATORS.values()], indent=2)


def _described(rotator: type[Rotator]) -> dict[str, Any]:
    return {
        "name": rotator.name,
        "title": rotator.title,
        "summary": rotator.summary,
        "overlaps": rotator.overlaps,
        "generates": rotator.generates,
        "settings": [_setting(setting) for setting in rotator.settings],
    }


def _setting(setting: Setting) -> dict[str, Any]:
    return {
        "name": setting.name,
        "kind": setting.kind.__name__,
        "required": setting.required,
        "secret": setting.secret,
        "default": setting.default,
        "help": setting.help,
    }


def _as_text(rotator: type[Rotator]) -> str:
    lines = [f"{rotator.name}: {rotator.summary}"]
    for setting in rotator.settings:
        marks = [setting.kind.__name__]
        marks += ["required"] if setting.required else []
        marks += ["secret"] if setting.secret else []
        lines.append(f"  {setting.name} ({', '.join(marks)}): {setting.help}")
    return "\n".join(lines)

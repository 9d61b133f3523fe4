"""The subcommands of `manage.py restore`, a module each: `HELP`, `arguments(parser)`, `run(command, ...)`.

`run` gets the options by name, says progress to `command.stderr`, and returns what is shown.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module
from types import ModuleType


def subcommands() -> dict[str, ModuleType]:
    """Return every module of this package by the name of its subcommand."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return {name: import_module(f"{__name__}.{name}") for name in names}

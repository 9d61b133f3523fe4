"""Whether a restore keeps the console from serving. The one place where health learns of it."""

from __future__ import annotations


def is_on() -> bool:
    """Tell whether the console is in maintenance; so far nothing puts it there."""
    return False

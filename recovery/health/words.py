"""What was measured, as people read it: on the page and in the command."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from recovery.backups.progress import size_text
from recovery.backups.standing import age_text
from recovery.health.results import Result

WORDS: dict[str, Callable[[float], str]] = {
    "active_workers": lambda number: _counted(number, "worker"),
    "oldest_task_seconds": lambda seconds: f"a task waits {_age(seconds)}",
    "free_bytes": lambda size: f"{size_text(int(size))} free",
    "databases": lambda number: _counted(number, "database"),
    "databases_amiss": lambda number: f"{number:,} in need of somebody" if number else "",
    "stored_age_seconds": lambda seconds: f"newest up to {_age(seconds)} old",
    "verified_age_seconds": lambda seconds: f"newest verified up to {_age(seconds)} old",
    "spooled_bytes": lambda size: f"{size_text(int(size))} waiting" if size else "none waiting",
    "set_aside_bytes": lambda size: f"{size_text(int(size))} set aside" if size else "",
}


# What is worth a word although there is nothing to measure.
NOTHING = {
    "stored_age_seconds": "no backup yet",
    "verified_age_seconds": "none verified yet",
}


def in_words(result: Result) -> str:
    """Return a part's figures as a list in words, "" where there are none."""
    said = (_word(name, value) for name, value in result.figures.items())
    return ", ".join(word for word in said if word)


def _word(name: str, value: float | None) -> str:
    if value is None:
        return NOTHING.get(name, "")
    return WORDS[name](value) if name in WORDS else ""


def _counted(number: float, noun: str) -> str:
    return f"{number:,.0f} {noun}{'' if number == 1 else 's'}"


def _age(seconds: float) -> str:
    return age_text(timedelta(seconds=seconds))

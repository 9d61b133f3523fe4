"""What an operator adds to the built-in rules, judged before it is used."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from re import _parser  # type: ignore[attr-defined]  # how `re` itself reads a pattern
from typing import Any

from audit.capture.redaction.names import words_of
from audit.capture.redaction.tags import TAG_PATTERN

# A repetition up to this often cannot take long, whatever it repeats.
FEW = 20
_TAG = re.compile(f"({TAG_PATTERN})")


class RuleError(ValueError):
    """A rule cannot be used; the message names it."""


@dataclass(frozen=True)
class Rules:
    """Further names whose values are secrets, and further patterns of secrets in text."""

    names: frozenset[str] = frozenset()
    patterns: tuple[re.Pattern[str], ...] = field(default=())

    def names_secret(self, name: str) -> bool:
        if not self.names:
            return False
        words = "_".join(words_of(name))
        return any(f"_{secret}_" in f"_{words}_" for secret in self.names)

    def replace(self, text: str, tag: Callable[[str], str]) -> str:
        for pattern in self.patterns:
            # A tag is not looked into: redacting twice changes nothing.
            pieces = _TAG.split(text)
            pieces[::2] = [pattern.sub(lambda match: tag(match[0]), piece) for piece in pieces[::2]]
            text = "".join(pieces)
        return text


def make_rules(names: Iterable[str] = (), patterns: Mapping[str, str] | None = None) -> Rules:
    """Make rules of names and of regular expressions by their names.

    Raise `RuleError` for a name without a letter, and for an expression that does not compile,
    matches nothing at all, or repeats what itself repeats, which can take for ever.
    """
    words = {name: "_".join(words_of(name)) for name in names}
    if empty := [name for name, word in words.items() if not word]:
        raise RuleError(f"The name {empty[0]!r} has no letter.")
    compiled = tuple(_compiled(name, text) for name, text in (patterns or {}).items())
    return Rules(frozenset(words.values()), compiled)


def _compiled(name: str, text: str) -> re.Pattern[str]:
    try:
        pattern = re.compile(text)
        if any(_is_catastrophic(step) for step in _parser.parse(text)):
            raise RuleError(f"The pattern {name!r} repeats a repetition, which can take for ever.")
    except (re.error, RecursionError, OverflowError) as exc:
        raise RuleError(f"The pattern {name!r} does not compile: {exc}") from exc
    if pattern.search(""):
        raise RuleError(f"The pattern {name!r} matches an empty text.")
    return pattern


def _is_catastrophic(step: tuple[Any, Any]) -> bool:
    if _repeats_often(step) and any(
        _repeats(inner) or str(inner[0]) == "BRANCH" for inner in _all_inside(step)
    ):
        return True
    return any(_is_catastrophic(inner) for inner in _inside(step[1]))


def _repeats(step: tuple[Any, Any]) -> bool:
    return str(step[0]) in {"MAX_REPEAT", "MIN_REPEAT"} and step[1][0] != step[1][1]


def _repeats_often(step: tuple[Any, Any]) -> bool:
    return str(step[0]) in {"MAX_REPEAT", "MIN_REPEAT"} and int(step[1][1]) > FEW


def _all_inside(step: tuple[Any, Any]) -> Iterator[tuple[Any, Any]]:
    for inner in _inside(step[1]):
        yield inner
        yield from _all_inside(inner)


def _inside(argument: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the steps of every pattern inside a step's argument."""
    if isinstance(argument, _parser.SubPattern):
        yield from argument
    elif isinstance(argument, list | tuple):
        for part in argument:
            yield from _inside(part)

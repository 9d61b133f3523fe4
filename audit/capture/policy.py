"""Which requests are recorded, how much of them and how strictly: `settings.AUDIT_POLICY`.

The policy is a list of rules; the first one that matches a request decides. A rule is a dict:

- `path`: a prefix of whole segments (`/health` matches `/health/live`, not `/healthy`), or
  with one of `*?[` in it a glob of the whole path, in which `*` also matches slashes.
- `methods`: the HTTP methods it is for; every method when it is left out.
- `level`: how much is recorded; `AUDIT_LOG_LEVEL` when it is left out.
- `strictness`: when it is durable; `blocking` when it is left out.

A request that no rule matches is recorded at `AUDIT_LOG_LEVEL`, blocking.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

KEYS = ("path", "methods", "level", "strictness")


class Level(StrEnum):
    """How much of a request is recorded."""

    NONE = "none"
    METADATA = "metadata"
    REQUEST = "request"
    REQUEST_RESPONSE = "request_response"


class Strictness(StrEnum):
    """When the record is durable: before the answer leaves, or before the view runs as well."""

    BLOCKING = "blocking"
    WRITE_AHEAD = "write_ahead"


@dataclass(frozen=True)
class Rule:
    """One rule; `methods` is None when it is for every method."""

    path: str
    level: Level
    strictness: Strictness = Strictness.BLOCKING
    methods: frozenset[str] | None = None

    def matches(self, method: str, path: str) -> bool:
        if self.methods is not None and method not in self.methods:
            return False
        if any(wildcard in self.path for wildcard in "*?["):
            return fnmatchcase(path, self.path)
        base = self.path.rstrip("/")
        return path == self.path or path.startswith(f"{base}/")


@dataclass(frozen=True)
class Policy:
    """The rules in order, the last of which matches every request."""

    rules: tuple[Rule, ...]

    def rule_for(self, method: str, path: str) -> Rule:
        return next(rule for rule in self.rules if rule.matches(method, path))


def load() -> Policy:
    """Parse `settings.AUDIT_POLICY`; raise `ImproperlyConfigured` naming all that is wrong."""
    found = list(problems())
    if found:
        raise ImproperlyConfigured("\n".join(found))
    default = Level(settings.AUDIT_LOG_LEVEL)
    rules = [_parsed(rule, default) for rule in settings.AUDIT_POLICY]
    return Policy((*rules, Rule("*", default)))


def exclusions() -> tuple[Rule, ...]:
    """Return the declared exclusions: the rules whose requests are not recorded at all."""
    return tuple(rule for rule in load().rules if rule.level is Level.NONE)


def problems() -> Iterator[str]:
    """Say what is wrong with the policy, a sentence for each mistake."""
    default = settings.AUDIT_LOG_LEVEL
    if default not in list(Level) or default == Level.NONE:
        yield f"AUDIT_LOG_LEVEL: {default!r} is not one of {_names(Level)} (and not none)."
    if not isinstance(settings.AUDIT_POLICY, list | tuple):
        yield "AUDIT_POLICY: this is not a list of rules."
        return
    for number, rule in enumerate(settings.AUDIT_POLICY, start=1):
        if not isinstance(rule, Mapping):
            yield f"AUDIT_POLICY, rule {number}: {rule!r} is not a dict."
            continue
        for problem in _problems_of(rule):
            yield f"AUDIT_POLICY, rule {number}: {problem}"


def _problems_of(rule: Mapping[str, Any]) -> Iterator[str]:
    for key in rule:
        if key not in KEYS:
            yield f"unknown key {key!r}; a rule has {', '.join(KEYS)}."
    path = rule.get("path")
    if not isinstance(path, str) or not path.startswith(("/", "*")):
        yield f"path {path!r} starts with neither / nor *."
    for key, kind in (("level", Level), ("strictness", Strictness)):
        if key in rule and rule[key] not in list(kind):
            yield f"{key} {rule[key]!r} is not one of {_names(kind)}."
    if rule.get("level") == Level.NONE and rule.get("strictness") == Strictness.WRITE_AHEAD:
        yield "level none records nothing, so it cannot be write_ahead."
    if "methods" in rule and not _are_methods(rule["methods"]):
        yield f"methods {rule['methods']!r} is not a list of names in capitals."


def _are_methods(methods: object) -> bool:
    return (
        isinstance(methods, list | tuple)
        and bool(methods)
        and all(isinstance(name, str) and name.isalpha() and name.isupper() for name in methods)
    )


def _parsed(rule: Mapping[str, Any], default: Level) -> Rule:
    methods = rule.get("methods")
    return Rule(
        path=rule["path"],
        level=Level(rule.get("level", default)),
        strictness=Strictness(rule.get("strictness", Strictness.BLOCKING)),
        methods=None if methods is None else frozenset(methods),
    )


def _names(kind: type[StrEnum]) -> str:
    return ", ".join(kind)

"""The rules that hold for one secret, and which rules can work at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import time, timedelta
from typing import Any

from secrets_rotation.declared import SettingsError
from secrets_rotation.models import Policy, PolicyOverride, Secret, Unit
from secrets_rotation.models.policies import RULES
from secrets_rotation.policies.generation import LONGEST, SHORTEST, SYMBOLS, GenerationRules

SHORTEST_MONTH = timedelta(days=28)
LONGEST_DAYS = {Unit.DAYS: 3_650, Unit.MONTHS: 120}
LONGEST_HISTORY = 100


class PolicyError(SettingsError):
    """These rules cannot work; `fields` says which and why."""


@dataclass(frozen=True)
class RulesInForce:
    """The type's policy with what the secret's override says otherwise."""

    interval: int
    interval_unit: str
    grace: timedelta
    auto_rotate: bool
    window_start: time
    window_end: time
    history_length: int
    value_length: int
    value_symbols: str

    @property
    def generation(self) -> GenerationRules:
        return GenerationRules(self.value_length, self.value_symbols)


def rules_in_force(secret: Secret) -> RulesInForce:
    return RulesInForce(**merged(secret.policy, getattr(secret, "override", None)))


def merged(policy: Policy, override: PolicyOverride | None) -> dict[str, Any]:
    """Return each rule, the override's where it has one."""
    return {name: getattr(policy, name) for name in RULES} | own_rules(override)


def own_rules(override: PolicyOverride | None) -> dict[str, Any]:
    """Return what an override says itself."""
    own = {name: getattr(override, name) for name in RULES} if override else {}
    return {name: value for name, value in own.items() if value is not None}


def problems(rules: Mapping[str, Any]) -> dict[str, str]:
    """Say what cannot work about a whole set of rules, by rule; {} when all can."""
    found = {
        "interval": _interval_problem(rules["interval"], rules["interval_unit"]),
        "history_length": _between(rules["history_length"], 1, LONGEST_HISTORY),
        "value_length": _between(rules["value_length"], SHORTEST, LONGEST),
        "value_symbols": _symbols_problem(rules["value_symbols"]),
    }
    if not found["interval"]:
        found["grace"] = _grace_problem(rules)
    return {name: problem for name, problem in found.items() if problem}


def shortest_interval(interval: int, unit: str) -> timedelta:
    """Return how long the interval is at least: months differ."""
    return interval * (SHORTEST_MONTH if unit == Unit.MONTHS else timedelta(days=1))


def _interval_problem(interval: int, unit: str) -> str:
    if unit not in Unit.values:
        return "The unit is days or months."
    return _between(interval, 1, LONGEST_DAYS[Unit(unit)])


def _grace_problem(rules: Mapping[str, Any]) -> str:
    if rules["grace"] < timedelta(0):
        return "The grace period cannot be negative."
    if rules["grace"] >= shortest_interval(rules["interval"], rules["interval_unit"]):
        return "The grace period must be shorter than the interval: the old value would never end."
    return ""


def _symbols_problem(symbols: str) -> str:
    unknown = sorted(set(symbols) - set(SYMBOLS))
    return f"These symbols cannot be used: {' '.join(unknown)}" if unknown else ""


def _between(number: int, least: int, most: int) -> str:
    return "" if least <= number <= most else f"This must be {least} to {most}, not {number}."

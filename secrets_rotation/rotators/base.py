"""What a rotator is: the hands by which a rotation changes a credential at its target.

A rotator knows one kind of target. It keeps no state and decides nothing: which value is
pending, what to do after a crash and when the old value ends is the run's business (`runs/`).
Every method may be called again after a crash, with the same arguments, and must then end in
the same state. A new kind of target is one file with one subclass, named in `registry.py`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar, Protocol

from compliance_site.foundation.secret_text import SecretText
from secrets_rotation.declared import Setting
from secrets_rotation.policies.generation import GenerationRules, generated_value


class Answer(StrEnum):
    """What the target says of a credential."""

    WORKS = "works"
    # The target itself said no: wrong, expired, locked. Never concluded from silence.
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Credential:
    """One version's credential at the target.

    `username` is "" where the target has none. `superseded_at` is when a later version took
    over (None while none did): sessions begun before it were opened with this credential.
    """

    username: str
    value: SecretText
    version_id: int
    superseded_at: datetime | None = None


@dataclass(frozen=True)
class Usage:
    """A session that still uses an old credential: `SELECT`-able evidence, no guess."""

    session: str  # the target's own id of it
    who: str  # application and address, as far as the target knows
    since: datetime | None


class Guard(Protocol):
    """The run's lease, held while a rotator works."""

    def confirm(self) -> None:
        """Raise `LeaseLostError` unless the lease is still held; call it right before a change."""

    def seconds_left(self) -> float:
        """Return how long the lease lasts; what is sent to a target must time out before."""


class Rotator(ABC):
    """The hands for one kind of target."""

    # As `rotator` names it in the API, such as "postgresql_role".
    name: ClassVar[str]
    title: ClassVar[str]
    # One sentence for `manage.py rotators`.
    summary: ClassVar[str]
    settings: ClassVar[tuple[Setting, ...]] = ()
    # The settings that say where its secret ones are sent: with others, those are given anew.
    address: ClassVar[tuple[str, ...]] = ()
    # Whether the old credential goes on working after the new one was set.
    overlaps: ClassVar[bool] = True
    # Whether the console makes the value. Where not, somebody has to supply it.
    generates: ClassVar[bool] = True
    # Whether `probe` can tell anything. Where it cannot, a rotation goes on unverified and says so.
    verifies: bool = True

    def __init__(self, target: Mapping[str, Any]) -> None:
        """`target` holds the settings as `declared.merged` returns them."""
        self.target = target

    @classmethod
    def problems(cls, target: Mapping[str, Any]) -> dict[str, str]:
        """Return what is wrong with settings of the right kinds, by setting; {} when nothing is."""
        return {}

    @abstractmethod
    def principal(self) -> str:
        """Return the name of what is changed at the target, the same for all secrets that share it.

        Rotations of one principal are never at work at the same time. Holds no secret.
        """

    def next_username(self, current: str) -> str:
        """Return whose credential the next version is, given the current version's ("" for none)."""
        return current

    def generate(self, rules: GenerationRules) -> SecretText:
        return generated_value(rules)

    @abstractmethod
    def probe(self, credential: Credential) -> Answer:
        """Try the credential without changing anything; never raise for a target that is away."""

    @abstractmethod
    def set(self, pending: Credential, current: Credential | None, guard: Guard) -> None:
        """Make the pending credential valid, the current one staying so where `overlaps`.

        Raise `ValueRefusedError` when the target's rules refuse the value (nothing has changed
        then) and `TargetUnknownError` for everything that leaves the outcome open.
        """

    @abstractmethod
    def discard(self, pending: Credential, current: Credential | None, guard: Guard) -> None:
        """Take the pending credential back: afterwards it is refused and the current one works.

        Raise `TargetUnknownError` when it is open whether that is so.
        """

    def in_use(self, old: Credential) -> list[Usage]:
        """Return the sessions that still use the old credential, as far as the target tells.

        Raise `TargetUnknownError` when it does not answer.
        """
        return []

    @abstractmethod
    def revoke(self, old: Credential, current: Credential, guard: Guard) -> None:
        """End the old credential and the sessions opened with it; the current one is untouched.

        Raise `TargetUnknownError` when it is open whether that is so. The run then looks:
        `probe(old)` must be refused and `in_use(old)` empty.
        """

"""What a destination is: one kind of place to which new versions of secrets are brought.

A destination keeps no state and decides nothing: when to deliver, how often to try again and
who is told is the outbox's business. A new kind is one file with one subclass, named in
`registry.py`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from compliance_site.foundation.secret_text import SecretText
from secrets_rotation.declared import Setting
from secrets_rotation.exceptions import DeliveryError

# Seconds that one delivery may take in all; the outbox's lease is several times longer.
DEADLINE = 10.0


@dataclass(frozen=True)
class Earlier:
    """The version before, while its value still works."""

    number: int
    username: str
    value: SecretText


@dataclass(frozen=True)
class Parcel:
    """One version on its way.

    `version_id` is the row's id, the same for each attempt; `number` counts from 1 for each
    secret and says which version is newer. `username` is "" where the target has no users.
    `earlier` is there where the destination keeps it and its value still works.
    """

    secret_type: str
    secret_name: str
    number: int
    version_id: int
    username: str
    value: SecretText
    earlier: Earlier | None = None

    @property
    def secret(self) -> str:
        return f"{self.secret_type} {self.secret_name}"


class Destination(ABC):
    """One kind of place that versions are delivered to."""

    # As `delivery` names it in the API, such as "env_file".
    name: ClassVar[str]
    title: ClassVar[str]
    # One sentence for whoever chooses one.
    summary: ClassVar[str]
    settings: ClassVar[tuple[Setting, ...]] = ()
    # Settings that say where the secret ones are sent: who changes one has to know the others.
    address: ClassVar[tuple[str, ...]] = ()

    def __init__(self, given: Mapping[str, Any]) -> None:
        """`given` holds the settings as `declared.merged` returns them."""
        self.given = given

    @classmethod
    def problems(cls, given: Mapping[str, Any]) -> dict[str, str]:
        """Return what is wrong with settings of the right kinds, by setting; {} when nothing is."""
        return {}

    @property
    def keeps_earlier(self) -> bool:
        """Tell whether the version before is kept beside the new one."""
        return False

    @abstractmethod
    def deliver(self, parcel: Parcel) -> None:
        """Bring the version there, in `DEADLINE` seconds; twice is the same as once.

        Raise `DeliveryError` when it did not arrive, when that is open, and when a newer
        version is there already: an older one never takes its place.
        """


def refuse_older(parcel: Parcel, there: int | None) -> None:
    """Raise `DeliveryError` when the version that is there is newer than the parcel's."""
    if there is not None and there > parcel.number:
        raise DeliveryError(
            f"Version {there} is there already; version {parcel.number} is older and was kept out."
        )


def document(parcel: Parcel) -> dict[str, object]:
    """Return the version as the JSON that files and webhooks carry, the value in clear."""
    body: dict[str, object] = {
        "secretType": parcel.secret_type,
        "secretName": parcel.secret_name,
        "version": parcel.number,
        "username": parcel.username,
        "value": parcel.value.reveal(),
    }
    if parcel.earlier:
        body["previous"] = {
            "version": parcel.earlier.number,
            "username": parcel.earlier.username,
            "value": parcel.earlier.value.reveal(),
        }
    return body


def version_mark(parcel: Parcel) -> str:
    """Return what a place notes beside the value: which version of which secret it is."""
    return f"{parcel.secret} version {parcel.number}"


def marked_version(parcel: Parcel, mark: object) -> int | None:
    """Return the number that a mark holds, None for no mark and for one of another secret."""
    secret, _, number = str(mark).rpartition(" version ")
    return int(number) if secret == parcel.secret and number.isdecimal() else None

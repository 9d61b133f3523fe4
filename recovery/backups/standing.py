"""How a database's backups stand: the one place that says what is too old, missing or failed.

Pages and health ask it. Ages are those of what is in a backup, from when it began: one that was
verified today and made last month is a month old.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

# A backup a day, and two hours for it to be late.
OLD = timedelta(hours=26)
# A verification a week, and a day for it to be late.
LONG_UNVERIFIED = timedelta(days=8)
FOR_EVER = timedelta.max


@dataclass(frozen=True)
class Standing:
    """What is known of a database's backups; an age is None where there is no such backup."""

    stored_age: timedelta | None = None
    verified_age: timedelta | None = None
    # Why the last attempt that ended failed, "" where that was not asked; None when it did not.
    failure: str | None = None
    # The same of the last verification of the newest backup.
    damage: str | None = None
    # How many somebody took away that retention did not remove.
    missing: int = 0

    def problems(self, known_for: timedelta = FOR_EVER) -> list[str]:
        """Return a sentence for all that is amiss.

        A database that is not known for long has time for its first backup and verification.
        """
        return [*self._of_stored(known_for), *self._of_verified(known_for), *self.failures()]

    def failures(self) -> Iterator[str]:
        """Say what failed or was lost, whether or not there are good backups besides."""
        if self.missing:
            yield (
                f"{self.missing} of its backups cannot be found any more; retention did not remove "
                "them."
            )
        if self.damage is not None:
            yield _because("The newest backup failed its verification", self.damage)
        if self.failure is not None:
            yield _because("The last attempt failed", self.failure)

    def _of_stored(self, known_for: timedelta) -> Iterator[str]:
        if self.stored_age is None:
            if known_for > OLD:
                yield "There is no backup."
        elif self.stored_age > OLD:
            yield f"The newest backup is {age_text(self.stored_age)} old."

    def _of_verified(self, known_for: timedelta) -> Iterator[str]:
        if self.verified_age is None:
            if self.stored_age is not None and known_for > LONG_UNVERIFIED:
                yield "No backup was ever restored to check it: nobody knows that one can be."
        elif self.verified_age > LONG_UNVERIFIED:
            yield f"The newest verified backup is {age_text(self.verified_age)} old."


def age_text(age: timedelta) -> str:
    """Return an age in words: `3 days`, `27 hours`, `a minute`."""
    seconds = age.total_seconds()
    for size, unit in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{int(seconds // size)} {unit}"
    return "a minute"


def _because(words: str, reason: str) -> str:
    return f"{words}: {reason}" if reason else f"{words}."

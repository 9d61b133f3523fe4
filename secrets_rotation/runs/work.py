"""A run in the hands of the process that holds its lease: its rows, its target, its ways to go on."""

from __future__ import annotations

import random
from datetime import timedelta
from functools import cached_property

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now

from secrets_rotation import notices
from secrets_rotation.models import Run, RunState, Version
from secrets_rotation.rotators.base import Answer, Credential, Rotator
from secrets_rotation.rotators.registry import rotator_of
from secrets_rotation.runs.lease import Lease
from secrets_rotation.unforeseen import texts_withheld

FIRST_WAIT = timedelta(seconds=5)
LONGEST_WAIT = timedelta(minutes=10)


class Work:
    """What a step needs; a new one is made for each step, from rows read anew."""

    def __init__(self, lease: Lease) -> None:
        self.lease = lease
        self.run = Run.objects.select_related("secret__policy", "version", "previous").get(
            pk=lease.run_id
        )

    @cached_property
    def rotator(self) -> Rotator:
        return rotator_of(self.run.secret)

    @cached_property
    def pending(self) -> Credential:
        return credential_of(self.run.version)

    @cached_property
    def previous(self) -> Credential | None:
        """Return what was current when the run began, None for a secret's first value."""
        return credential_of(self.run.previous) if self.run.previous else None

    def take_principal(self) -> bool:
        """Have the target to oneself; False while another rotation is at work on it."""
        if self.lease.take_principal(self.rotator.principal()):
            return True
        return self.sleep_until(Now(), "Another rotation is at work on the same principal.")

    def probe(self, credential: Credential) -> Answer:
        self.lease.confirm()
        with texts_withheld():
            return self.rotator.probe(credential)

    def move(self, state: RunState, text: str, *, is_trouble: bool = False) -> bool:
        """Go on to a state, where attempts are counted anew; True, for the run goes on."""
        self.lease.move(state, text, is_trouble=is_trouble, attempts=0, reason="")
        return True

    def wait(self, reason: str) -> bool:
        """Try the step again later, each time after a longer while; in the end ask a person."""
        attempts = self.run.attempts + 1
        if attempts > settings.ROTATION_ATTEMPTS:
            return self.ask(f"Given up after {attempts - 1} attempts: {reason}")
        # The first failure and then each tenth: a target that is away for a day is one story.
        if attempts == 1 or attempts % 10 == 0:
            text = f"{reason} Attempt {attempts}; another one follows."
            self.lease.move(RunState(self.run.state), text, is_trouble=True)
        self.lease.write(
            attempts=attempts, reason=reason[:500], next_attempt_at=Now() + backoff(attempts)
        )
        return False

    def sleep_until(self, moment: object, reason: str = "") -> bool:
        """Leave the run alone until a moment, or until something wakes it."""
        self.lease.write(next_attempt_at=moment, reason=reason[:500])
        return False

    def ask(self, reason: str) -> bool:
        """Stop until a person decides: resume, roll back or adopt."""
        with transaction.atomic():
            self.lease.move(
                RunState.ATTENTION,
                reason,
                is_trouble=True,
                reason=reason[:500],
                halted_in=self.run.state,
            )
            notices.needs_attention(self.run, reason)
        return False


def credential_of(version: Version) -> Credential:
    """Unseal a version's value; raise `EnvelopeError` when that cannot be done here."""
    return Credential(version.username, version.value.unseal(), version.pk, version.superseded_at)


def backoff(attempts: int) -> timedelta:
    """Return twice the last wait, half of it at random, so that many do not come at once."""
    whole: timedelta = min(FIRST_WAIT * 2 ** min(attempts - 1, 12), LONGEST_WAIT)
    return whole * random.uniform(0.5, 1.0)  # noqa: S311  spreads load, hides nothing

"""Whatever happens in whatever order: the current value opens the target, or nobody reaches it.

Due ticks, requests, crashes at any point, an unreachable target, edits of the policy, steps of
the clock, acknowledgements and early ends, drawn by Hypothesis, on a pair of real roles.
"""

from datetime import timedelta

import pytest
import time_machine
from django.db import connection
from django.utils import timezone
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from audit.capture.actors import Actor
from secrets_rotation import schedule
from secrets_rotation.delivery import consumers, outbox
from secrets_rotation.exceptions import RotationError
from secrets_rotation.models import PolicyOverride, Run, RunState, Secret, Trigger, VersionState
from secrets_rotation.rotators.base import Answer
from secrets_rotation.rotators.registry import rotator_of
from secrets_rotation.runs import actions, lease, machine, steps
from secrets_rotation.runs.start import start
from secrets_rotation.runs.work import credential_of

NOWHERE = 1


class KilledError(BaseException):
    """The process is dead: nothing may catch it, nothing is cleaned up."""


class Death:
    """Kills the process, as far as Python can, after so many commits and target calls."""

    def __init__(self):
        self.left = 0

    def point(self, function, *, is_target=False):
        def wrapped(*arguments, **named):
            result = function(*arguments, **named)
            if is_target or connection.savepoint_ids == self.outer:
                self.left -= 1
                if self.left == 0:
                    raise KilledError
            return result

        return wrapped

    def install(self, monkeypatch):
        self.outer = list(connection.savepoint_ids)
        for name in ("write", "move", "take_principal"):
            wrapped = self.point(getattr(lease.Lease, name))
            monkeypatch.setattr(lease.Lease, name, wrapped)
        release = lease.Lease.release
        monkeypatch.setattr(
            lease.Lease, "release", lambda held: None if self.left == 0 else release(held)
        )
        monkeypatch.setitem(steps.STEPS, RunState.VERIFIED, self.point(steps.promote))


def machine_of(add_secret, target_of, death):  # noqa: C901  a rule each
    class Rotations(RuleBasedStateMachine):
        @initialize()
        def begin(self):
            self.is_reachable = True
            self.travels = []
            self.settings = target_of()
            self.secret = add_secret(
                "postgresql_pair", self.settings, f"secret-{Secret.objects.count()}"
            )
            self.consumer = consumers.register(self.secret, "app")
            self.rotate()

        def teardown(self):
            for travel in reversed(self.travels):
                travel.stop()

        @property
        def run(self):
            return Run.objects.filter(secret=self.secret).first()

        def advance(self):
            death.left = -1
            machine.advance(self.run.pk)
            outbox.deliver_due()

        @rule()
        def rotate(self):
            try:
                start(self.secret, trigger=Trigger.MANUAL)
            except RotationError:
                return
            self.advance()

        @rule(days=st.integers(1, 400))
        def tick(self, days):
            """Let the last rotation be so long ago, and look what is due."""
            Secret.objects.filter(pk=self.secret.pk).update(
                last_rotated_at=timezone.now() - timedelta(days=days)
            )
            schedule.begin_due()
            self.later()

        @rule()
        def later(self):
            past = timezone.now() - timedelta(seconds=1)
            Run.objects.update(next_attempt_at=past)
            Run.objects.filter(leased_until__isnull=False).update(leased_until=past)
            self.advance()

        @rule(at=st.integers(1, 14))
        def crash(self, at):
            death.left = at
            try:
                machine.advance(self.run.pk)
            except KilledError:
                # Its lease stays where it is until its time is over.
                return

        @rule()
        def flap(self):
            self.is_reachable = not self.is_reachable
            port = self.settings["port"] if self.is_reachable else NOWHERE
            Secret.objects.filter(pk=self.secret.pk).update(
                target=self.secret.target | {"port": port}
            )

        @rule(hours=st.integers(0, 48))
        def edit_policy(self, hours):
            grace = timedelta(hours=hours)
            PolicyOverride.objects.filter(secret=self.secret).update(grace=grace)

        @rule(days=st.integers(-3, 40))
        @precondition(lambda self: len(self.travels) < 3)
        def step_clock(self, days):
            travel = time_machine.travel(timezone.now() + timedelta(days=days))
            travel.start()
            self.travels.append(travel)

        @rule()
        def acknowledge(self):
            current = self.secret.versions.filter(state=VersionState.CURRENT).first()
            if current:
                consumers.acknowledge(self.consumer, current.number, Actor("service", "app"))
                self.later()

        @rule(action=st.sampled_from([actions.end_grace, actions.roll_back, actions.resume]))
        def decide(self, action):
            try:
                action(self.run)
            except RotationError:
                return
            self.advance()

        @invariant()
        def the_current_value_opens_the_target(self):
            current = Secret.objects.get(pk=self.secret.pk).versions.filter(
                state=VersionState.CURRENT
            )
            for version in current:
                answer = rotator_of(self.secret).probe(credential_of(version))
                assert answer is Answer.WORKS or not self.is_reachable

        @invariant()
        def nothing_ended_is_kept(self):
            dead = self.secret.versions.filter(
                state__in=(VersionState.REVOKED, VersionState.DISCARDED)
            )
            assert not dead.filter(value__isnull=False).exists()

    return Rotations


@pytest.mark.django_db
def test_the_current_value_always_opens_the_target(monkeypatch, add_secret, postgresql, make_pair):
    death = Death()
    death.install(monkeypatch)
    monkeypatch.setattr(outbox.current_app, "send_task", lambda *_, **__: None)

    run_state_machine_as_test(
        machine_of(add_secret, lambda: postgresql | make_pair(), death),
        settings=settings(
            max_examples=12,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )

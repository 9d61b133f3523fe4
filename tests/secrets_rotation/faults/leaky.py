"""A rotator that logs all it is given and then breaks, each time in another way.

What it was given it also tells the test, in the file that `LEAKY_TOLD` names.
"""

import json
import logging
import os

from django.apps import AppConfig

from secrets_rotation.declared import Setting
from secrets_rotation.rotators.base import Answer, Rotator

logger = logging.getLogger("leaky")


class LeakyRotator(Rotator):
    name = "leaky"
    title = "Leaky"
    summary = "Breaks while it holds the value."
    settings = (
        Setting("breaks", "How.", required=True),
        Setting("adminPassword", "What it holds too.", secret=True),
    )

    def principal(self):
        return f"leaky {self.target['breaks']}"

    def probe(self, credential):
        return Answer.REFUSED

    def set(self, pending, current, guard):
        value = pending.value.reveal()
        tell(value)
        say_all(pending, current, self.target)
        getattr(self, self.target["breaks"])(value)

    def discard(self, pending, current, guard):
        """Nothing was set."""

    def revoke(self, old, current, guard):
        """Nothing was set."""

    def in_a_local(self, value):
        statement = f"ALTER ROLE app PASSWORD '{value}'"
        raise RuntimeError(f"a statement of {len(statement)} signs broke")

    def in_its_text(self, value):
        raise RuntimeError(f"the driver refused PASSWORD '{value}'")

    def in_its_cause(self, value):
        try:
            {}[value]
        except KeyError as exc:
            raise RuntimeError("a look-up broke") from exc

    def in_a_note(self, value):
        failure = RuntimeError("a note tells more")
        failure.add_note(f"it was {value}")
        raise failure

    def in_a_group(self, value):
        raise ExceptionGroup("several broke", [ValueError(value)])


def tell(value):
    with open(os.environ["LEAKY_TOLD"], "a") as told:
        print(value, file=told)


def say_all(pending, current, target):
    """Log everything that is at hand, in every way that there is."""
    from secrets_rotation.models import Run, Version, VersionValue

    version = Version.objects.get(pk=pending.version_id)
    run = Run.objects.get(version=version)
    stored = VersionValue.objects.get(version=version)
    things = (pending, pending.value, current, target, version, run, stored, stored.__dict__)
    for thing in things:
        logger.debug("holds %r, %s", thing, thing)
        logger.debug("holds more", extra={"held": thing})
        logger.debug({"held": thing})
    for thing in (pending, pending.value):
        try:
            json.dumps({"held": thing})
        except TypeError:
            logger.exception("It does not become JSON.")


class LeakyConfig(AppConfig):
    name = "tests.secrets_rotation.faults"
    label = "leaky"
    path = os.path.dirname(__file__)

    def ready(self):
        from secrets_rotation.rotators.registry import ROTATORS

        ROTATORS[LeakyRotator.name] = LeakyRotator

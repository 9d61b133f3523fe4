"""What an emergency would do: in which order, after what, and what the console cannot rotate."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from django.db.models import prefetch_related_objects

from secrets_rotation.models import Run, Secret
from secrets_rotation.rotators.registry import ROTATORS
from secrets_rotation.runs.dry_run import target_problems

CIRCLE = "It would never begin: it waits for secrets that depend on one another in a circle."
NEEDS_VALUE = "The console cannot make this value: a person brings it, by Rotate now on its page."


@dataclass(frozen=True)
class Planned:
    """One secret of an emergency.

    `place` counts from 1, the same for those that begin together, and is None for those that
    would never begin. `after` are the selected secrets that are rotated before it, `in_flight`
    is the run that has to end first, `obstacle` says why a person has to see to it ("" for no
    reason).
    """

    secret: Secret
    place: int | None
    after: tuple[Secret, ...]
    in_flight: Run | None
    obstacle: str


def plan(secrets: Iterable[Secret]) -> list[Planned]:
    """Return the secrets in the order in which they would be rotated; changes nothing."""
    selected = list(secrets)
    prefetch_related_objects(selected, "depends_on")
    after = _dependencies(selected)
    places = _places(after)
    in_flight = runs_in_flight(selected)
    planned = [
        Planned(
            secret,
            places.get(secret),
            after[secret],
            in_flight.get(secret.pk),
            _obstacle(secret) if secret in places else CIRCLE,
        )
        for secret in selected
    ]
    # A sort keeps what is equal in the order that it had.
    return sorted(planned, key=lambda each: each.place or len(selected) + 1)


def runs_in_flight(secrets: Iterable[Secret]) -> dict[int, Run]:
    """Return the run that is under way, by the id of its secret."""
    return {run.secret_id: run for run in Run.objects.in_flight().filter(secret__in=list(secrets))}


def _dependencies(selected: list[Secret]) -> dict[Secret, tuple[Secret, ...]]:
    """Return what each waits for; what is not selected holds nobody up."""
    chosen = set(selected)
    return {
        secret: tuple(other for other in secret.depends_on.all() if other in chosen)
        for secret in selected
    }


def _places(after: dict[Secret, tuple[Secret, ...]]) -> dict[Secret, int]:
    """Return who begins when; those that wait for one another are not among them."""
    places: dict[Secret, int] = {}
    place = 1
    while ready := [
        secret
        for secret, others in after.items()
        if secret not in places and all(other in places for other in others)
    ]:
        places |= dict.fromkeys(ready, place)
        place += 1
    return places


def _obstacle(secret: Secret) -> str:
    problems = target_problems(secret)
    if problems:
        return " ".join(f"{name}: {text}" if name else text for name, text in problems.items())
    return "" if ROTATORS[secret.rotator].generates else NEEDS_VALUE

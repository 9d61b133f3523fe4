"""What a rotation would do, before it is begun: looks everywhere, changes nothing."""

from __future__ import annotations

from dataclasses import dataclass, field

from compliance_site.foundation.master_key import EnvelopeError
from secrets_rotation import catalogue, declared
from secrets_rotation.declared import SettingsError
from secrets_rotation.exceptions import SecretRetiredError, TargetUnknownError, UnknownRotatorError
from secrets_rotation.models import (
    IN_FLIGHT,
    Consumer,
    Run,
    Secret,
    TargetCredential,
    Version,
    VersionState,
)
from secrets_rotation.policies.rules import RulesInForce, rules_in_force
from secrets_rotation.rotators.base import Answer, Rotator
from secrets_rotation.rotators.registry import rotator_of
from secrets_rotation.runs.work import credential_of


@dataclass(frozen=True)
class Look:
    """What the target says of the current value; `answer` is None when it was not asked."""

    answer: Answer | None
    reason: str = ""


@dataclass(frozen=True)
class Plan:
    """What the rotator would do."""

    title: str
    summary: str
    principal: str
    next_username: str
    generates: bool
    overlaps: bool
    verifies: bool


@dataclass(frozen=True)
class DryRun:
    """A rotation that is not begun. Holds no value.

    `problems` say by setting why the target cannot be worked on, "" naming what is no setting's;
    then there is no plan, or one that would stop and ask a person.
    """

    rules: RulesInForce
    current: Version | None
    next_number: int
    consumers: tuple[Consumer, ...]
    in_flight: Run | None
    plan: Plan | None
    look: Look
    problems: dict[str, str] = field(default_factory=dict)

    @property
    def can_begin(self) -> bool:
        """Tell whether `start` would begin it, a fit value given where one is needed."""
        return self.plan is not None and not self.in_flight and not self.problems


def dry_run(secret: Secret) -> DryRun:
    """Say what a rotation of the secret would do now; asks the target about the current value."""
    current = secret.versions.filter(state=VersionState.CURRENT).first()
    newest = secret.versions.first()
    rotator, problems = _rotator(secret)
    return DryRun(
        rules=rules_in_force(secret),
        current=current,
        next_number=newest.number + 1 if newest else 1,
        consumers=tuple(secret.consumers.filter(retired_at=None)),
        in_flight=secret.runs.filter(state__in=IN_FLIGHT).first(),
        plan=_plan(rotator, current) if rotator else None,
        look=_look(rotator, current),
        problems=problems,
    )


def target_problems(secret: Secret) -> dict[str, str]:
    """Return why the secret's target cannot be worked on, by setting; does not ask the target."""
    return _rotator(secret)[1]


def _rotator(secret: Secret) -> tuple[Rotator | None, dict[str, str]]:
    """Return the secret's rotator, or what keeps it from being made."""
    if secret.retired_at is not None:
        return None, {"": str(SecretRetiredError.__doc__)}
    stored = TargetCredential.objects.filter(secret=secret).first()
    try:
        sealed = declared.secret_settings(stored.unseal() if stored else None)
        catalogue.checked_target(secret.rotator, secret.target | sealed)
        return rotator_of(secret), {}
    except SettingsError as exc:
        return None, exc.fields
    except (EnvelopeError, UnknownRotatorError) as exc:
        return None, {"": str(exc)}


def _plan(rotator: Rotator, current: Version | None) -> Plan:
    return Plan(
        title=rotator.title,
        summary=rotator.summary,
        principal=rotator.principal(),
        next_username=rotator.next_username(current.username if current else ""),
        generates=rotator.generates,
        overlaps=rotator.overlaps,
        verifies=rotator.verifies,
    )


def _look(rotator: Rotator | None, current: Version | None) -> Look:
    if rotator is None:
        return Look(None, "The target was not asked: its settings cannot be used.")
    if current is None:
        return Look(None, "There is no current value yet.")
    if not rotator.verifies:
        return Look(None, "This target cannot be asked.")
    try:
        return Look(rotator.probe(credential_of(current)))
    except TargetUnknownError as exc:
        return Look(Answer.UNKNOWN, exc.reason)
    except (EnvelopeError, Version.value.RelatedObjectDoesNotExist) as exc:
        return Look(None, f"The current value cannot be opened here: {exc}")

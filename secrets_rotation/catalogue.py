"""The secrets that there are: find, add, change and retire them. Never their values."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from django.db import IntegrityError, connection, transaction
from django.db.models.functions import Now

from audit.capture.recording import record
from audit.models import Action
from compliance_site.foundation.master_key import EnvelopeError
from secrets_rotation import declared
from secrets_rotation.delivery import consumers
from secrets_rotation.exceptions import (
    RunInFlightError,
    SecretExistsError,
    SecretRetiredError,
    UnknownSecretError,
)
from secrets_rotation.models import (
    IN_FLIGHT,
    Policy,
    PolicyOverride,
    PrincipalLock,
    RunState,
    Secret,
    TargetCredential,
    Version,
    VersionState,
)
from secrets_rotation.policies import rules as policy_rules
from secrets_rotation.rotators.base import Rotator
from secrets_rotation.rotators.registry import rotator_class
from secrets_rotation.runs import actions

LONGEST_USERNAME = Version._meta.get_field("username").max_length or 0
LONGEST_PRINCIPAL = PrincipalLock._meta.get_field("principal").max_length or 0


@dataclass(frozen=True)
class Description:
    """What people say of a secret; `target` with the secret settings still in it."""

    secret_type: str
    name: str
    rotator: str
    target: Mapping[str, Any]
    owner: str = ""
    tags: tuple[str, ...] = ()
    override: Mapping[str, Any] = field(default_factory=dict)
    depends_on: tuple[Secret, ...] = ()


def policy_of(secret_type: str) -> Policy:
    """Return the type's policy; raise `UnknownSecretError` naming the nearest type."""
    types = {policy.secret_type: policy for policy in Policy.objects.all()}
    if secret_type not in types:
        # Not quoted: people put values in the wrong place.
        raise UnknownSecretError(f"There is no such type{_nearest(secret_type, types)}")
    return types[secret_type]


def find(secret_type: str, name: str) -> Secret:
    """Return a living secret; raise `UnknownSecretError` naming the nearest type or name."""
    policy = policy_of(secret_type)
    # Not looked for by the database, whose log may show what was.
    living = dict(Secret.objects.living().filter(policy=policy).values_list("name", "pk"))
    if name not in living:
        raise UnknownSecretError(f"There is no such {secret_type} secret{_nearest(name, living)}")
    return Secret.objects.get(pk=living[name])


def add(description: Description) -> Secret:
    """Add a secret; its first rotation gives it a value.

    Raise `UnknownSecretError`, `UnknownRotatorError`, `SecretExistsError`, or `SettingsError`
    and `PolicyError`, which name each setting and rule that cannot be.
    """
    policy = policy_of(description.secret_type)
    checked = checked_target(description.rotator, description.target)
    _check_override(policy, None, description.override)
    try:
        with transaction.atomic():
            secret = Secret.objects.create(
                policy=policy,
                name=description.name,
                owner=description.owner,
                tags=sorted(set(description.tags)),
                rotator=description.rotator,
                target=checked.shown,
                anchored_on=datetime.now(UTC).date(),
            )
            secret.depends_on.set(description.depends_on)
            _store_credential(secret, checked)
            if description.override:
                PolicyOverride.objects.create(secret=secret, **description.override)
            _tell(secret, Action.CREATE, {"rotator": secret.rotator, "target": checked.shown})
    except IntegrityError as exc:
        raise SecretExistsError(SecretExistsError.__doc__) from exc
    return secret


def change(
    secret: Secret,
    *,
    target: Mapping[str, Any] | None = None,
    override: Mapping[str, Any] | None = None,
    depends_on: Iterable[Secret] | None = None,
    **fields: Any,
) -> None:
    """Change what people say of a secret; what is not given stays.

    Secret settings that the new target leaves out keep their values, unless they would then go
    to another address: those are to be given anew. Raise `SettingsError`,
    `SecretRetiredError`, or `RunInFlightError` when the target would change under a rotation
    that is at work; one that waits for a person may be waiting for just that.
    """
    with transaction.atomic():
        if depends_on is not None:
            _lock_dependencies()
        secret = _locked(secret)
        if target is not None:
            _change_target(secret, target)
        if override is not None:
            stored = PolicyOverride.objects.filter(secret=secret).first()
            _check_override(secret.policy, stored, override)
            PolicyOverride.objects.update_or_create(secret=secret, defaults=dict(override))
        if depends_on is not None:
            _set_dependencies(secret, depends_on)
        for name, value in fields.items():
            setattr(secret, name, value)
        secret.save()
        others = {"target": target, "dependsOn": depends_on}
        changed = [*fields, *(name for name, given in others.items() if given is not None)]
        _tell(secret, Action.UPDATE, {"changed": changed, "override": override or {}})


def retire(secret: Secret) -> None:
    """Take a secret out of rotation for good; its history stays and its values are deleted.

    Its consumers are retired with it. The target is not touched: what it accepts it goes on
    accepting. A run that waits for a person ends with it: its target may be gone. Raise
    `RunInFlightError` while a rotation is under way, `RunBusyError` or `SecretRetiredError`.
    """
    with transaction.atomic():
        secret = _locked(secret)
        for run in secret.runs.filter(state=RunState.ATTENTION):
            actions.abandon(run)
        _refuse_in_flight(secret)
        for consumer in secret.consumers.filter(retired_at=None):
            consumers.retire(consumer)
        Secret.objects.filter(pk=secret.pk).update(retired_at=Now())
        for version in secret.versions.filter(state=VersionState.CURRENT):
            version.end(VersionState.REVOKED)
        TargetCredential.objects.filter(secret=secret).delete()
        _tell(secret, Action.DELETE, {"retired": True})


def checked_target(rotator: str, target: Mapping[str, Any]) -> declared.Checked:
    """Check a target's settings; raise `SettingsError` or `UnknownRotatorError`."""
    kind = rotator_class(rotator)
    checked = declared.check(kind.settings, target)
    settings = declared.merged(kind.settings, checked.shown, checked.sealed)
    if problems := kind.problems(settings) or _length_problems(kind(settings)):
        raise declared.SettingsError(problems)
    return checked


def _length_problems(rotator: Rotator) -> dict[str, str]:
    """Say which names are longer than what is noted of each rotation."""
    if len(rotator.next_username("")) > LONGEST_USERNAME:
        return {"username": f"Names have at most {LONGEST_USERNAME} signs."}
    if len(rotator.principal()) > LONGEST_PRINCIPAL:
        return {"target": f"The names in it have at most {LONGEST_PRINCIPAL} signs together."}
    return {}


def _locked(secret: Secret) -> Secret:
    """Lock a living secret: no rotation begins, and nobody else changes it."""
    secret = Secret.objects.select_for_update(of=("self",)).get(pk=secret.pk)
    if secret.retired_at is not None:
        raise SecretRetiredError(SecretRetiredError.__doc__)
    return secret


def _change_target(secret: Secret, target: Mapping[str, Any]) -> None:
    _refuse_in_flight(secret, but=(RunState.ATTENTION,))
    kind = rotator_class(secret.rotator)
    kept = {name: value for name, value in _known_credential(secret).items() if name not in target}
    checked = checked_target(secret.rotator, kept | dict(target))
    before = declared.merged(kind.settings, secret.target, None)
    after = declared.merged(kind.settings, checked.shown, None)
    declared.refuse_another_address(kind.address, before, after, kept)
    secret.target = checked.shown
    _store_credential(secret, checked)


def _known_credential(secret: Secret) -> dict[str, Any]:
    """Return the secret settings; none that cannot be opened any more: they are to be given anew."""
    stored = TargetCredential.objects.filter(secret=secret).first()
    with contextlib.suppress(EnvelopeError):
        return declared.secret_settings(stored.unseal() if stored else None)
    return {}


def _store_credential(secret: Secret, checked: declared.Checked) -> None:
    TargetCredential.objects.filter(secret=secret).delete()
    if checked.sealed is not None:
        credential = TargetCredential(secret=secret)
        credential.seal(checked.sealed)
        credential.save(force_insert=True)


def _check_override(
    policy: Policy, stored: PolicyOverride | None, override: Mapping[str, Any]
) -> None:
    """Raise `PolicyError` unless the type's rules can work with what is stored and given."""
    own = {**policy_rules.own_rules(stored), **override}
    own = {name: value for name, value in own.items() if value is not None}
    problems = policy_rules.problems(policy_rules.merged(policy, None) | own)
    if ("window_start" in own) != ("window_end" in own):
        problems["window_start"] = "Give the window's start and end together."
    if problems:
        raise policy_rules.PolicyError(problems)


def _lock_dependencies() -> None:
    """Let nobody else change what waits for what: two edits could make a circle together.

    Taken before any secret's row, which the other one's new reference would wait for.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext('secrets_rotation_dependencies'))")


def _set_dependencies(secret: Secret, depends_on: Iterable[Secret]) -> None:
    """Set what is rotated before the secret, unless that would wait for the secret itself."""
    wanted = list(depends_on)
    reached = {each.pk for each in wanted}
    frontier = reached
    while frontier:
        found = Secret.objects.filter(dependents__in=frontier).values_list("pk", flat=True)
        frontier = set(found) - reached
        reached |= frontier
    if secret.pk in reached:
        raise declared.SettingsError({"dependsOn": "The secret would wait for itself."})
    secret.depends_on.set(wanted)


def _refuse_in_flight(secret: Secret, but: tuple[RunState, ...] = ()) -> None:
    # Locked: nobody resumes it in this moment.
    run = secret.runs.select_for_update(no_key=True).filter(state__in=IN_FLIGHT).first()
    if run is not None and run.state not in but:
        raise RunInFlightError(run.pk)


def _tell(secret: Secret, action: Action, details: Mapping[str, Any]) -> None:
    record(action, resource=f"/secrets/{secret.pk}", details={"name": str(secret), **details})


def _nearest(name: str, known: Iterable[str]) -> str:
    lower = {word.lower(): word for word in known}
    near = difflib.get_close_matches(name.lower(), lower, n=1)
    return f"; did you mean {lower[near[0]]}?" if near else "."

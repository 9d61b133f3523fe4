"""Begin a rotation: the pending value is durable before anything else happens."""

from __future__ import annotations

import hashlib
import hmac
from datetime import timedelta
from typing import Any

from django.db import IntegrityError, transaction

from audit.capture.actors import current
from compliance_site.foundation.data_keys import data_key
from compliance_site.foundation.secret_text import SecretText
from secrets_rotation.exceptions import (
    IdempotencyError,
    RunInFlightError,
    SecretRetiredError,
    ValueNeededError,
)
from secrets_rotation.models import (
    IN_FLIGHT,
    Run,
    RunState,
    Secret,
    Trigger,
    Version,
    VersionState,
    VersionValue,
)
from secrets_rotation.models.secrets import SecretQuerySet
from secrets_rotation.policies.rules import RulesInForce, rules_in_force
from secrets_rotation.policies.strength import check_supplied, fingerprint
from secrets_rotation.rotators.base import Rotator
from secrets_rotation.rotators.registry import rotator_of
from secrets_rotation.runs.lease import tell

REQUESTS = "idempotent requests"


def start(
    secret: Secret,
    *,
    trigger: Trigger,
    supplied: SecretText | None = None,
    idempotency_key: str | None = None,
    grace: timedelta | None = None,
) -> Run:
    """Commit the pending value and its run; whoever acts now is who asked for it.

    The policy says how long the grace is, unless the caller does. With an idempotency key that
    this caller used before, return the run it began then.

    Raise `RunInFlightError`, `SecretRetiredError`, `ValueNeededError`, `ValueUnfitError`, or
    `IdempotencyError` for a key that came with another request; then nothing has changed.
    """
    request_hash = _request_hash(secret, supplied) if idempotency_key else ""
    try:
        with transaction.atomic(durable=True):
            secret = Secret.objects.select_for_update(of=("self",)).get(pk=secret.pk)
            known = _same_request(idempotency_key, request_hash)
            if known is not None:
                return known
            return _begin(
                secret,
                supplied,
                grace,
                trigger=trigger,
                idempotency_key=idempotency_key,
                request_hash=request_hash,
            )
    except IntegrityError:
        # At the same moment the key began a rotation of another secret, under another lock.
        if _same_request(idempotency_key, request_hash) is None:
            raise
        raise IdempotencyError(IdempotencyError.__doc__) from None


def start_due(secret_id: int, due: SecretQuerySet) -> Run | None:
    """Begin a scheduled rotation; None when the secret is not due any more, or being begun."""
    with transaction.atomic(durable=True):
        locked = due.select_for_update(skip_locked=True, of=("self",))
        secret = locked.filter(pk=secret_id).first()
        return _begin(secret, None, None, trigger=Trigger.SCHEDULE) if secret else None


def _begin(
    secret: Secret, supplied: SecretText | None, grace: timedelta | None, **fields: Any
) -> Run:
    """Add version and run; the caller holds the secret's row."""
    _refuse_unless_free(secret)
    actor = current().actor()
    rules = rules_in_force(secret)
    previous = secret.versions.filter(state=VersionState.CURRENT).first()
    version = pending_version(secret, rotator_of(secret), rules, supplied)
    run = Run.objects.create(
        secret=secret,
        version=version,
        previous=previous,
        requested_by=actor.user_id,
        actor_type=actor.type,
        actor=actor.name,
        grace=rules.grace if grace is None else grace,
        **fields,
    )
    kind = "generated" if version.is_generated else "supplied"
    tell(run.pk, RunState.PENDING, f"Version {version.number} is pending: {kind}, sealed.", actor)
    return run


def pending_version(
    secret: Secret, rotator: Rotator, rules: RulesInForce, supplied: SecretText | None
) -> Version:
    """Add the pending version with its sealed value; the caller holds the secret's row."""
    if supplied is None and not rotator.generates:
        raise ValueNeededError(ValueNeededError.__doc__)
    if supplied is not None:
        check_supplied(secret, supplied, rules.history_length)
    value = supplied or rotator.generate(rules.generation)
    newest = secret.versions.first()
    current_version = secret.versions.filter(state=VersionState.CURRENT).first()
    version = Version.objects.create(
        secret=secret,
        number=newest.number + 1 if newest else 1,
        state=VersionState.PENDING,
        username=rotator.next_username(current_version.username if current_version else ""),
        is_generated=supplied is None,
        fingerprint=fingerprint(secret, value),
    )
    row = VersionValue(version=version)
    row.seal(value)
    row.save(force_insert=True)
    return version


def _refuse_unless_free(secret: Secret) -> None:
    if secret.retired_at is not None:
        raise SecretRetiredError(SecretRetiredError.__doc__)
    run = secret.runs.filter(state__in=IN_FLIGHT).first()
    if run is not None:
        raise RunInFlightError(run.pk)


def _same_request(key: str | None, request_hash: str) -> Run | None:
    """Return the run that the caller began with this key before."""
    if key is None:
        return None
    caller = current().actor().user_id
    run = Run.objects.filter(requested_by=caller, idempotency_key=key).first()
    if run is not None and not hmac.compare_digest(run.request_hash, request_hash):
        raise IdempotencyError(IdempotencyError.__doc__)
    return run


def _request_hash(secret: Secret, supplied: SecretText | None) -> str:
    # Keyed: a plain hash of a request would let a guess of its value be checked.
    message = f"{secret.pk}|{supplied.reveal() if supplied else ''}".encode()
    return hmac.new(data_key(REQUESTS), message, hashlib.sha256).hexdigest()

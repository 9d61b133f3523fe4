"""Consumers: who uses a secret, where their versions go, and what they say that they use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.db.models.functions import Now

from audit.capture.actors import Actor
from audit.capture.recording import record
from audit.models import Action
from compliance_site.foundation.roles import AnyUser, Role, has_role
from compliance_site.foundation.secret_text import SecretText
from secrets_rotation import declared
from secrets_rotation.declared import Checked, SettingsError
from secrets_rotation.delivery import outbox, registry
from secrets_rotation.delivery.destinations.base import Destination
from secrets_rotation.exceptions import (
    ConsumerError,
    NameTakenError,
    OldVersionError,
    UnknownVersionError,
)
from secrets_rotation.models import (
    Acknowledgement,
    Consumer,
    ConsumerCredential,
    Secret,
    Version,
    VersionState,
)


@transaction.atomic
def register(
    secret: Secret,
    name: str,
    delivery: str = "none",
    destination: Mapping[str, Any] | None = None,
    service_account: User | None = None,
) -> Consumer:
    """Add a consumer; the current version is on its way to it at once.

    Raise `UnknownDestinationError`, `SettingsError` naming every mistake, `NameTakenError`, or
    `ConsumerError` for an account that is no service's and for a secret that is retired.
    """
    checked = _checked(registry.destination_class(delivery), destination or {})
    _refuse_no_service(service_account)
    secret = outbox.locked_secret(secret.pk)
    if secret.retired_at:
        raise ConsumerError(f"{secret} is retired.")
    consumer = Consumer(
        secret=secret,
        name=name,
        delivery=delivery,
        destination=checked.shown,
        service_account=service_account,
    )
    _save(consumer, checked.sealed)
    _record(Action.CREATE, consumer, settings=checked.shown)
    outbox.enqueue_for(consumer)
    return consumer


@transaction.atomic
def change(
    consumer: Consumer,
    *,
    name: str | None = None,
    delivery: str | None = None,
    destination: Mapping[str, Any] | None = None,
    service_account: User | None = None,
) -> Consumer:
    """Change what is given; a new destination gets the current version at once.

    `destination` replaces all settings but the secret ones that it leaves out: those stay
    as long as the way of delivery does and nothing says that they go to another address. Raise
    what `register` does, and `ConsumerError` for one that is retired.
    """
    outbox.locked_secret(consumer.secret_id)
    consumer = Consumer.objects.select_for_update(of=("self",)).get(pk=consumer.pk)
    if consumer.retired_at:
        raise ConsumerError(f"{consumer.name} is retired.")
    _refuse_no_service(service_account)
    consumer.name = consumer.name if name is None else name
    consumer.service_account = service_account or consumer.service_account
    before = consumer.delivery
    consumer.delivery = before if delivery is None else delivery
    moves = destination is not None or consumer.delivery != before
    sealed = _sealed(consumer)
    if moves:
        kept = sealed if consumer.delivery == before else None
        checked = _rechecked(consumer, destination or {}, kept)
        consumer.destination, sealed = checked.shown, checked.sealed
    _save(consumer, sealed)
    _record(Action.UPDATE, consumer, settings=consumer.destination)
    if moves:
        outbox.enqueue_for(consumer)
    return consumer


@transaction.atomic
def retire(consumer: Consumer) -> None:
    """End a consumer: nothing is delivered to it any more, and nobody waits for it."""
    outbox.locked_secret(consumer.secret_id)
    if not Consumer.objects.filter(pk=consumer.pk, retired_at=None).update(retired_at=Now()):
        return
    consumer.refresh_from_db(fields=["retired_at"])
    ConsumerCredential.objects.filter(consumer=consumer).delete()
    outbox.supersede(consumer.deliveries.all())
    _record(Action.DELETE, consumer)
    if version := _current(consumer):
        outbox.wake_run(version)


def may_acknowledge(user: AnyUser, consumer: Consumer) -> bool:
    """Tell whether the user may: security officers, and the consumer's own service account."""
    if has_role(user, Role.SECURITY_OFFICER):
        return True
    return has_role(user, Role.SERVICE) and user.pk == consumer.service_account_id


@transaction.atomic
def acknowledge(consumer: Consumer, version_number: int, actor: Actor) -> Acknowledgement:
    """Note that the consumer uses a version; again is the same as once.

    Raise `OldVersionError` for one that is not current any more and was not acknowledged while
    it was, `UnknownVersionError` for one that never was current, `ConsumerError` for a
    consumer that is retired. Whether the actor may is the caller's to ask.
    """
    if Consumer.objects.filter(pk=consumer.pk, retired_at=None).first() is None:
        raise ConsumerError(f"{consumer.name} is retired.")
    known = consumer.acknowledgements.filter(version__number=version_number).first()
    if known:
        return known
    version = _acknowledgeable(consumer, version_number)
    acknowledgement, is_new = Acknowledgement.objects.get_or_create(
        consumer=consumer,
        version=version,
        defaults={"actor_type": actor.type, "actor": actor.name},
    )
    if is_new:
        _record(Action.ACKNOWLEDGE, consumer, actor=actor, version=version.number)
        outbox.wake_run(version)
    return acknowledgement


def unacknowledged(version: Version) -> list[Consumer]:
    """Return the living consumers of whom nobody has said that they use the version."""
    return list(
        Consumer.objects.filter(secret=version.secret_id, retired_at=None).exclude(
            acknowledgements__version=version
        )
    )


def _current(consumer: Consumer) -> Version | None:
    """Return the secret's current version, locked: it stays so until the transaction ends."""
    return (
        Version.objects.filter(secret=consumer.secret_id, state=VersionState.CURRENT)
        .select_for_update(no_key=True)
        .first()
    )


def _acknowledgeable(consumer: Consumer, number: int) -> Version:
    current = _current(consumer)
    if current and current.number == number:
        return current
    version = Version.objects.filter(secret=consumer.secret_id, number=number).first()
    if version is None or current is None or version.promoted_at is None:
        raise UnknownVersionError(f"There is no version {number} to acknowledge.")
    raise OldVersionError(number, current.number)


def _refuse_no_service(account: User | None) -> None:
    if account and not has_role(account, Role.SERVICE):
        raise ConsumerError(f"{account.get_username()} is no service account.")


def _checked(kind: type[Destination], given: Mapping[str, Any]) -> Checked:
    checked = declared.check(kind.settings, given)
    merged = declared.merged(kind.settings, checked.shown, checked.sealed)
    if problems := kind.problems(merged):
        raise SettingsError(problems)
    return checked


def _rechecked(consumer: Consumer, given: Mapping[str, Any], sealed: SecretText | None) -> Checked:
    """Check new settings, completed by the secret ones that stay."""
    kind = registry.destination_class(consumer.delivery)
    before = declared.merged(kind.settings, consumer.destination, sealed)
    kept = {
        setting.name: before[setting.name].reveal()
        for setting in kind.settings
        if setting.secret and before[setting.name] is not None and setting.name not in given
    }
    checked = _checked(kind, {**kept, **given})
    after = declared.merged(kind.settings, checked.shown, None)
    declared.refuse_another_address(kind.address, before, after, kept)
    return checked


def _sealed(consumer: Consumer) -> SecretText | None:
    credential = ConsumerCredential.objects.filter(consumer=consumer).first()
    return credential.unseal() if credential else None


def _save(consumer: Consumer, sealed: SecretText | None) -> None:
    try:
        with transaction.atomic():
            consumer.save()
    except IntegrityError:
        raise NameTakenError(NameTakenError.__doc__) from None
    if sealed is None:
        ConsumerCredential.objects.filter(consumer=consumer).delete()
        return
    credential = ConsumerCredential(consumer=consumer)
    credential.seal(sealed)
    credential.save()


def _record(action: str, consumer: Consumer, actor: Actor | None = None, **details: object) -> None:
    record(
        action,
        resource=f"/secrets/{consumer.secret_id}/consumers/{consumer.pk}",
        details={"consumer": consumer.name, "delivery": consumer.delivery, **details},
        actor=actor,
    )

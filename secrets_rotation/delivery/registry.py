"""Which destinations there are: the one place to name a new one."""

from __future__ import annotations

import difflib

from secrets_rotation import declared
from secrets_rotation.delivery.destinations.aws import AwsSecretsManager
from secrets_rotation.delivery.destinations.base import Destination
from secrets_rotation.delivery.destinations.env_file import EnvFile
from secrets_rotation.delivery.destinations.file import File
from secrets_rotation.delivery.destinations.kubernetes import KubernetesSecret
from secrets_rotation.delivery.destinations.none import NoDelivery
from secrets_rotation.delivery.destinations.vault import VaultKv2
from secrets_rotation.delivery.destinations.webhook import Webhook
from secrets_rotation.exceptions import RotationError
from secrets_rotation.models import Consumer, ConsumerCredential

DESTINATIONS: dict[str, type[Destination]] = {
    destination.name: destination
    for destination in (
        NoDelivery,
        File,
        EnvFile,
        Webhook,
        AwsSecretsManager,
        VaultKv2,
        KubernetesSecret,
    )
}


class UnknownDestinationError(RotationError):
    """There is no such way of delivery."""

    def __init__(self, name: str) -> None:
        near = difflib.get_close_matches(name, DESTINATIONS, n=1, cutoff=0)
        super().__init__(f"There is no delivery {name!r}; did you mean {near[0]}?")


def destination_class(name: str) -> type[Destination]:
    """Return the destination of this name; raise `UnknownDestinationError` naming the nearest."""
    if name not in DESTINATIONS:
        raise UnknownDestinationError(name)
    return DESTINATIONS[name]


def destination_of(consumer: Consumer) -> Destination:
    """Return where the consumer's versions go, its secret settings unsealed.

    Raise `UnknownDestinationError`, or `EnvelopeError` when they cannot be opened here.
    """
    kind = destination_class(consumer.delivery)
    credential = ConsumerCredential.objects.filter(consumer=consumer).first()
    sealed = credential.unseal() if credential else None
    return kind(declared.merged(kind.settings, consumer.destination, sealed))

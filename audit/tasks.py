from celery import shared_task

from audit.capture import intents
from audit.ledger import partitions


@shared_task(name="audit.make_partitions")
def make_partitions() -> None:
    """Make the log's partitions of the months ahead."""
    partitions.make_ahead()


@shared_task(name="audit.close_orphans")
def close_orphans() -> None:
    """Record requests that began and never ended as unknown."""
    intents.close_orphans()

from celery import shared_task

from audit.ledger import partitions


@shared_task(name="audit.make_partitions")
def make_partitions() -> None:
    """Make the log's partitions of the months ahead."""
    partitions.make_ahead()

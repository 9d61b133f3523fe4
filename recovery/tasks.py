from celery import shared_task

from recovery.health import history


@shared_task(name="recovery.sample_health")
def sample_health() -> None:
    """Keep what each part of the console says in this minute."""
    history.sample()

import logging

from celery import shared_task
from django.conf import settings

from recovery.backups import prune, verify
from recovery.backups.create import create
from recovery.databases import databases
from recovery.exceptions import RecoveryError
from recovery.health import history

logger = logging.getLogger(__name__)


@shared_task(name="recovery.heavy.backup_all")
def backup_all() -> None:
    """Back every configured database up; one that fails keeps none of the others from it."""
    if not settings.ENABLE_AUTOMATED_BACKUPS:
        return
    for database in databases().values():
        try:
            create(database)
        except RecoveryError as exc:
            # It is in the catalogue, the log and a notice.
            logger.error("No backup of %s: %s", database.name, exc)


@shared_task(name="recovery.sample_health")
def sample_health() -> None:
    """Keep what each part of the console says in this minute."""
    history.sample()


@shared_task(name="recovery.heavy.prune")
def prune_backups() -> None:
    """Remove the backups that no rule of retention keeps."""
    if not settings.ENABLE_AUTOMATED_BACKUPS:
        return
    try:
        prune.prune()
    except RecoveryError as exc:
        # Nothing is lost by keeping them until tomorrow.
        logger.error("Backups were not pruned: %s", exc)


@shared_task(name="recovery.heavy.verify_newest")
def verify_newest() -> None:
    """Restore the newest backup of every database into a scratch database."""
    verify.verify_newest()

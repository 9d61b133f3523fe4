import logging

from celery import shared_task
from django.conf import settings
from kombu.exceptions import OperationalError

from audit.capture.actors import acting_as, current
from audit.capture.celery_task import Caller
from recovery.backups import attempts, prune, verify
from recovery.backups import requests as backup_requests
from recovery.backups.create import create
from recovery.databases import databases
from recovery.exceptions import QueueAwayError, RecoveryError
from recovery.health import history
from recovery.models import Backup, RestoreRequest
from recovery.physical import schedule
from recovery.restore import requests as restore_requests

BUSY_SECONDS = 60
# Acknowledged when they begin: the broker takes a task of more than an hour for lost and hands
# it out again. What a killed worker leaves is entered as failed, and done anew the next day.
ACKS_LATE = False

logger = logging.getLogger(__name__)


@shared_task(name="recovery.heavy.backup_all", acks_late=ACKS_LATE)
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


@shared_task(name="recovery.heavy.prune", acks_late=ACKS_LATE)
def prune_backups() -> None:
    """Remove the backups that no rule of retention keeps."""
    if not settings.ENABLE_AUTOMATED_BACKUPS:
        return
    try:
        prune.prune()
    except RecoveryError as exc:
        # Nothing is lost by keeping them until tomorrow.
        logger.error("Backups were not pruned: %s", exc)


@shared_task(name="recovery.heavy.verify_newest", acks_late=ACKS_LATE)
def verify_newest() -> None:
    """Restore the newest backup of every database into a scratch database."""
    verify.verify_newest()


@shared_task(name="recovery.heavy.base_backups", acks_late=ACKS_LATE)
def make_base_backups() -> None:
    """Make the base backups that are due, and remove those that nothing needs."""
    if settings.ENABLE_AUTOMATED_BACKUPS:
        schedule.run()


# What people ask for in the console or over REST


@shared_task(name="recovery.heavy.make_requested", acks_late=ACKS_LATE)
def make_requested(backup_id: str) -> None:
    """Make a backup that was asked for; look again in a minute while another one is in the way."""
    if not backup_requests.make(backup_id):
        make_requested.apply_async((backup_id,), countdown=BUSY_SECONDS)


@shared_task(name="recovery.heavy.verify_requested", acks_late=ACKS_LATE)
def verify_requested(backup_id: str) -> None:
    """Restore a backup into a scratch database and compare, in the name of whoever asked for it."""
    here = current()
    try:
        with acting_as(Caller.of(here).actor, here.request_id):
            verify.verify(backup_id)
    except RecoveryError as exc:
        # It is in the catalogue, the log and a notice.
        logger.error("No verification of %s: %s", backup_id, exc)


@shared_task(name="recovery.heavy.restore_requested", acks_late=ACKS_LATE)
def restore_requested(request_id: int) -> None:
    """Carry an approved restore out."""
    restore_requests.carry_out(request_id)


@shared_task(name="recovery.give_up_waiting")
def give_up_waiting() -> None:
    """Enter as failed the backups that no worker began in time, and those whose worker died."""
    backup_requests.give_up_waiting()
    attempts.close_dead()


def send_backup(backup: Backup) -> None:
    """Have a worker make a backup; without a broker it failed, and raise `QueueAwayError`."""
    try:
        make_requested.delay(backup.pk)
    except OperationalError:
        backup_requests.unsent(backup)
        raise QueueAwayError(QueueAwayError.__doc__) from None


def send_verification(backup: Backup) -> None:
    """Have a worker verify a backup; raise `QueueAwayError` without a broker."""
    try:
        verify_requested.delay(backup.pk)
    except OperationalError:
        raise QueueAwayError(QueueAwayError.__doc__) from None


def send_restore(asked: RestoreRequest) -> None:
    """Have a worker carry an approved restore out; without a broker it failed, as its page says."""
    try:
        restore_requested.delay(asked.pk)
    except OperationalError:
        restore_requests.not_begun(asked, restore_requests.UNSENT)

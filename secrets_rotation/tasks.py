from celery import shared_task

from secrets_rotation import break_glass, notices, schedule
from secrets_rotation.delivery import outbox
from secrets_rotation.models import Run
from secrets_rotation.runs import machine

# The minute's tick wakes what waits longer.
SOON_SECONDS = 60


@shared_task(name="secrets_rotation.tick")
def tick() -> None:
    """Begin the rotations that are due, carry on those that wait, tell who must know."""
    for run in schedule.begin_due():
        advance.delay(run.pk)
    for run_id in [*break_glass.carry_on(), *schedule.sleepers()]:
        advance.delay(run_id)
    deliver_due.delay()
    announce_due.delay()


@shared_task(name="secrets_rotation.advance")
def advance(run_id: int) -> None:
    """Carry a run on as far as it goes, and again in a moment if it waits for only that."""
    machine.advance(run_id)
    seconds = Run.objects.seconds_to_wait(run_id)
    if seconds is not None and seconds < SOON_SECONDS:
        advance.apply_async((run_id,), countdown=seconds)


@shared_task(name="secrets_rotation.deliver_due")
def deliver_due() -> None:
    """Deliver new versions to their consumers."""
    outbox.deliver_due()


@shared_task(name="secrets_rotation.announce_due")
def announce_due() -> None:
    """Tell who must know what is due soon, or overdue."""
    notices.announce_due()

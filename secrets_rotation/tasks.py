import contextlib

from celery import shared_task
from kombu.exceptions import OperationalError

from secrets_rotation import break_glass, notices, schedule
from secrets_rotation.delivery import outbox
from secrets_rotation.models import Run
from secrets_rotation.runs import machine

# The minute's tick wakes what waits longer.
SOON_SECONDS = 60
# However soon a run may go on, it is not asked more often: another one may hold what it needs.
LEAST_SECONDS = 5


@shared_task(name="secrets_rotation.tick")
def tick() -> None:
    """Carry on the rotations that wait, tell who must know, begin those that are due.

    First what is under way: no trouble with a new one keeps an old value from its end.
    """
    for run_id in schedule.sleepers():
        advance.delay(run_id)
    deliver_due.delay()
    announce_due.delay()
    for run_id in break_glass.carry_on():
        advance.delay(run_id)
    for run in schedule.begin_due():
        advance.delay(run.pk)


def tick_soon() -> None:
    """Have a worker tick at once; without a broker the next minute's tick does."""
    with contextlib.suppress(OperationalError):
        tick.delay()


@shared_task(name="secrets_rotation.advance")
def advance(run_id: int) -> None:
    """Carry a run on as far as it goes, and again in a moment if it waits for only that."""
    advance_now(run_id)


def advance_now(run_id: int) -> None:
    """Carry a run on in this process, as far as it goes; a worker goes on after a short wait."""
    has_looked = machine.advance(run_id)
    seconds = Run.objects.seconds_to_wait(run_id)
    if seconds is None:
        return
    # Whoever is at work on it may have looked too early to see what this was sent for.
    if not has_looked or seconds < SOON_SECONDS:
        wait = seconds if has_looked else 0.0
        # Without a broker the minute's tick finds the run later.
        with contextlib.suppress(OperationalError):
            advance.apply_async((run_id,), countdown=max(wait, LEAST_SECONDS))


@shared_task(name="secrets_rotation.deliver_due")
def deliver_due() -> None:
    """Deliver new versions to their consumers."""
    outbox.deliver_due()


@shared_task(name="secrets_rotation.announce_due")
def announce_due() -> None:
    """Tell who must know what is due soon, or overdue."""
    notices.announce_due()

"""Carry a run on, as far as it goes now: `SCHEDULED` is a due secret, all else are run states.

PENDING, SETTING, SET, VERIFIED, (promotion), DISTRIBUTING, GRACE, REVOKING, REVOKED; from before
the promotion also ROLLING_BACK, ROLLED_BACK; from anywhere ATTENTION, when a person must decide.
"""

from __future__ import annotations

import logging

from compliance_site.foundation.master_key import EnvelopeError
from secrets_rotation.declared import SettingsError
from secrets_rotation.exceptions import LeaseLostError, TargetUnknownError, UnknownRotatorError
from secrets_rotation.models import VersionValue
from secrets_rotation.runs.lease import Lease
from secrets_rotation.runs.steps import STEPS
from secrets_rotation.runs.work import Work
from secrets_rotation.unforeseen import UnforeseenError

logger = logging.getLogger(__name__)


def advance(run_id: int) -> bool:
    """Take the run's lease and do its steps until it waits or ends; call outside a transaction.

    Return False when nothing was done: another process is at work on it, or it has ended.
    """
    lease = Lease.take(run_id)
    if lease is None:
        return False
    try:
        while _step(lease):
            pass
    except LeaseLostError:
        return False
    finally:
        lease.release()
    return True


def _step(lease: Lease) -> bool:
    """Do the step of the run's state; False when it waits, ended or needs a person."""
    work = Work(lease)
    step = STEPS.get(work.run.state)
    if step is None:
        return False
    try:
        return step(work)
    except VersionValue.DoesNotExist:
        # Whoever took the run over has ended the version meanwhile; if nobody did, it is a fault.
        lease.confirm()
        raise
    except TargetUnknownError as exc:
        return work.wait(f"The target did not answer clearly: {exc.reason}.")
    except UnforeseenError as exc:
        # A fault of ours: it is logged, and counted like a target that does not answer.
        logger.exception("Run %s: the rotator broke.", lease.run_id)
        return work.wait(f"The console's rotator broke: {exc}.")
    except (EnvelopeError, SettingsError, UnknownRotatorError) as exc:
        return work.ask(f"The console cannot work on it: {exc}")

"""Tasks of every app wait while the console's own database is replaced.

What one read would be the old database's, and what it wrote would be in the old one only; after
the swap the restored one has not been given its rights yet.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from celery.signals import task_prerun

from compliance_site.foundation import maintenance

# A swap and what follows it take seconds; after so long somebody has to look anyway.
LONGEST_SECONDS = 60.0
POLL_SECONDS = 0.1

logger = logging.getLogger(__name__)


def connect() -> None:
    """Have every task of this process wait."""
    task_prerun.connect(wait)


def wait(sender: Any = None, **kwargs: Any) -> None:
    """Hold a task that begins in maintenance until that is over, a minute at most."""
    ends_at = time.monotonic() + LONGEST_SECONDS
    while maintenance.is_on():
        if time.monotonic() > ends_at:
            logger.warning("%s begins although the console is in maintenance.", sender.name)
            return
        time.sleep(POLL_SECONDS)

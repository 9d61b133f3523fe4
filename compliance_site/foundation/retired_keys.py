"""Whether old master keys may leave the ring."""

from __future__ import annotations

import time

from compliance_site.foundation import master_key, rewrap, ring_file
from compliance_site.foundation.ring_file import NoRingFileError

# Longer than any process goes on with a key that it read before the ring changed.
QUIET_SECONDS = 600


class NotRetirableError(Exception):
    """A key cannot be taken from the ring now; the message says why."""


def check(key_ids: set[str]) -> None:
    """Raise `NotRetirableError` for keys in use, unknown, or current a moment ago.

    What a process sealed just before the ring changed may not be in the database yet; without
    its key it would never open again.
    """
    ring = master_key.ring()
    for key_id in sorted(key_ids):
        if ring.find(key_id) is None:
            raise NotRetirableError(f"No master key {key_id} is in the ring.")
        if key_id == ring.current.id:
            raise NotRetirableError(f"Master key {key_id} is the current one; rotate first.")
        if rows := sum(rewrap.rows_under(key_id).values()):
            raise NotRetirableError(
                f"{rows} rows are under master key {key_id}; run `manage.py master_key rewrap`."
            )
    try:
        changed_at = ring_file.path().stat().st_mtime
    except NoRingFileError:
        raise NotRetirableError(
            "The ring is in COMPLIANCE_MASTER_KEY: take the key out there and restart every process."
        ) from None
    wait = changed_at + QUIET_SECONDS - time.time()
    if wait > 0:
        raise NotRetirableError(
            f"The ring was changed a moment ago; try again in {wait / 60:.0f} minutes."
        )

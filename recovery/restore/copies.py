"""Whether a stored copy of a backup can be opened: its length and its header tell, in a moment.

What is damaged further on shows when it is unpacked, before anything is replaced.
"""

from __future__ import annotations

from dataclasses import dataclass

from recovery import sealing
from recovery.backups.source import Source
from recovery.exceptions import ConfigurationError, RecoveryError, SealError
from recovery.stores.base import Store

FILE, KEY = "stored file", "encryption key"
OTHER_HEADER = "The file is damaged: its header is not for the keys that it was made for."


@dataclass(frozen=True)
class Fault:
    """What of a copy is wrong, its file or the key at hand, and why."""

    subject: str
    text: str


def fault(source: Source, store: Store) -> Fault | None:
    """Open a copy for real; return what is wrong with it, None when it opens."""
    manifest = source.manifest
    try:
        size = store.size(f"{manifest.database}/{manifest.file}")
        if size != manifest.size:
            text = f"The file is damaged: it has {size:,} bytes instead of {manifest.size:,}."
            return Fault(FILE, text)
        with source.opened(store) as stored, sealing.open_sealed(stored) as plain:
            plain.read(512)
    except SealError as exc:
        fits = str(sealing.identity().to_public()) in manifest.recipients
        return Fault(FILE, OTHER_HEADER) if fits else Fault(KEY, str(exc))
    except ConfigurationError as exc:
        return Fault(KEY, str(exc))
    except RecoveryError as exc:
        return Fault(FILE, str(exc))
    return None

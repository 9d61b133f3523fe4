"""Whether a stored copy of a backup can be opened: its length and its header tell, in a moment.

What is damaged further on shows when it is unpacked, before anything is replaced.
"""

from __future__ import annotations

from dataclasses import dataclass

from recovery import sealing
from recovery.backups.source import Source
from recovery.exceptions import ConfigurationError, DamagedError, SealError, StoreError
from recovery.stores.base import Store

FILE, KEY = "stored file", "encryption key"
OTHER_HEADER = "The sealed file is damaged: its header is not for the keys that it was made for."


@dataclass(frozen=True)
class Fault:
    """What of a copy is wrong, its file or the key at hand, and why."""

    subject: str
    text: str


def fault(source: Source, store: Store) -> Fault | None:
    """Open a copy for real; return what is wrong with it, None when it opens."""
    try:
        _look(source, store)
    except SealError as exc:
        fits = str(sealing.identity().to_public()) in source.manifest.recipients
        return Fault(FILE, f"{store.name}: {OTHER_HEADER}") if fits else Fault(KEY, str(exc))
    except ConfigurationError as exc:
        return Fault(KEY, str(exc))
    except DamagedError as exc:
        return Fault(FILE, f"{store.name}: {exc}")
    except StoreError as exc:
        # It names the place.
        return Fault(FILE, str(exc))
    return None


def _look(source: Source, store: Store) -> None:
    manifest = source.manifest
    size = store.size(f"{manifest.database}/{manifest.file}")
    if size != manifest.size:
        text = f"The sealed file is damaged: it has {size:,} bytes instead of {manifest.size:,}."
        raise DamagedError(text)
    with source.opened(store) as stored, sealing.open_sealed(stored) as plain:
        plain.read(512)

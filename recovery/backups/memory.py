"""What retention remembers from one run to the next, in a file that no restore changes."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePath

from django.conf import settings

from compliance_site.foundation.private_files import PrivateFile, locked
from recovery.backups.retention import Break, Memory
from recovery.exceptions import BusyError, ConfigurationError

FILE = PurePath("memory.json")


@dataclass(frozen=True)
class Remembered:
    """The memory, while nobody else may change it."""

    memory: Memory
    _file: PrivateFile

    def replace(self, memory: Memory) -> None:
        body = {
            "ran_at": memory.ran_at and memory.ran_at.isoformat(),
            "breaks": [[each.start.isoformat(), each.end.isoformat()] for each in memory.breaks],
        }
        try:
            self._file.replace(json.dumps(body))
        except OSError as exc:
            raise ConfigurationError(f"RECOVERY_FOLDER: {_folder()}: {exc.strerror}.") from None


@contextmanager
def remembered() -> Iterator[Remembered]:
    """Hold the memory; raise `BusyError` when another process prunes, or `ConfigurationError`.

    A memory that cannot be read is an error and not forgotten: it is what the clock is held
    against.
    """
    folder = _folder()
    with ExitStack() as stack:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = stack.enter_context(locked(folder, FILE))
            text = file.read()
        except OSError as exc:
            if exc.errno == errno.EBUSY:
                raise BusyError("Another process is pruning; one at a time.") from None
            raise ConfigurationError(f"RECOVERY_FOLDER: {folder}: {exc.strerror}.") from None
        yield Remembered(_parsed(text, folder / FILE), file)


def _parsed(text: str | None, path: Path) -> Memory:
    if text is None:
        return Memory()
    try:
        body = json.loads(text)
        ran_at = body["ran_at"] and datetime.fromisoformat(body["ran_at"])
        breaks = tuple(Break(*map(datetime.fromisoformat, pair)) for pair in body["breaks"])
        if any(moment.tzinfo is None for each in breaks for moment in (each.start, each.end)):
            raise ValueError
        return Memory(ran_at, breaks)
    except (ValueError, TypeError, KeyError, RecursionError):
        raise ConfigurationError(
            f"{path} is damaged: remove it when the clock of this machine is right. Until then "
            "nothing is pruned."
        ) from None


def _folder() -> Path:
    return Path(settings.RECOVERY_FOLDER) / "retention"

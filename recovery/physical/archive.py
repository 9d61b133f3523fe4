"""The folder in which a server's log and base backups are kept, and what is really in it.

    <WAL_ARCHIVE_PATH>/<database>/archive.json     which server it belongs to
                                  wal/             what pg_receivewal writes
                                  base/            base backups
                                  samples/         where the server's log ended, when

Nothing is believed that the files do not show.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from compliance_site.foundation.embedded.locks import open_lock, try_exclusive
from recovery.databases import typed
from recovery.exceptions import BusyError, ConfigurationError, DamagedError, RefusedError
from recovery.physical.accounts import Account, account_of, own_folder, require_reach
from recovery.physical.log_files import Contents, Survey, find_gaps
from recovery.physical.wal import (
    HISTORY_NAME,
    LARGEST_HISTORY,
    SEGMENT_NAME,
    Segment,
    end_of_log,
    first_page,
    parse_history,
)

SETTING = "WAL_ARCHIVE_PATH"
IDENTITY = "archive.json"
LARGEST_IDENTITY = 10_000
PARTIAL = ".partial"
FOLDERS = ("wal", "base", "samples")


@dataclass(frozen=True)
class Identity:
    """The server that an archive is of."""

    system_identifier: str
    segment_size: int
    server_version: int
    # Whom the base backups were made as: a superuser that is in each of them.
    user: str


class Archive:
    """One server's archive. What reads it raises `DamagedError` or `ConfigurationError`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.wal, self.base, self.samples = (folder / name for name in FOLDERS)

    @property
    def account(self) -> Account:
        """Return whom the programs run as that read and write here."""
        return account_of(self.folder)

    def identity(self) -> Identity:
        """Return whose archive it is; raise `ConfigurationError` when it is nobody's yet."""
        file = self.folder / IDENTITY
        try:
            with open(file, encoding="utf-8") as opened:
                return Identity(**json.loads(opened.read(LARGEST_IDENTITY)))
        except FileNotFoundError:
            raise ConfigurationError(
                f"{SETTING}: {self.folder} is no archive yet; "
                f"{typed('wal_archive run', self.folder.name)} begins one."
            ) from None
        except (OSError, ValueError, TypeError):
            raise DamagedError(f"{file} is damaged or cannot be read.") from None

    def make(self) -> None:
        """Make the folders; raise `ConfigurationError` where they cannot be."""
        try:
            for each in (self.folder.parent, self.folder, self.wal, self.base, self.samples):
                own_folder(each, account_of(each.parent))
        except OSError as exc:
            raise ConfigurationError(
                f"{SETTING}: {self.folder} cannot be written ({exc.strerror})."
            ) from None
        require_reach(self.wal, self.account, SETTING)

    def claim(self, identity: Identity) -> None:
        """Make the archive, or make sure that it is this server's; raise `RefusedError`."""
        self.make()
        file = self.folder / IDENTITY
        if file.exists():
            known = self.identity()
            if known.system_identifier != identity.system_identifier:
                raise RefusedError(
                    f"{self.folder} is the archive of another server (system identifier "
                    f"{known.system_identifier}, this one has {identity.system_identifier}). "
                    f"Name another folder in {SETTING}, or move this one away."
                )
            if known == identity:
                return
        write_whole(file, json.dumps(asdict(identity), indent=1) + "\n", self.account)

    def lock(self, name: str, doing: str) -> int:
        """Be the only one at something until the descriptor is closed; raise `BusyError`."""
        descriptor = open_lock(self.folder / f"{name}.lock")
        if not try_exclusive(descriptor):
            os.close(descriptor)
            raise BusyError(f"Another process is {doing} in {self.folder}.")
        return descriptor

    def contents(self) -> Contents:
        """Look at every file of the log: its name, its size, its head."""
        identity = self.identity()
        whole, unfinished, ancestors = {}, set(), {}
        for name, size in _files(self.wal):
            if SEGMENT_NAME.fullmatch(name):
                segment = Segment.parse(name, identity.segment_size)
                whole[segment] = self._fault(segment, size, identity)
            elif SEGMENT_NAME.fullmatch(name.removesuffix(PARTIAL)):
                unfinished.add(Segment.parse(name.removesuffix(PARTIAL), identity.segment_size))
            elif found := HISTORY_NAME.fullmatch(name):
                ancestors[int(found[1], 16)] = self._history(name)
        return Contents(identity.segment_size, whole, frozenset(unfinished), ancestors)

    def survey(self, since: int | None = None, contents: Contents | None = None) -> Survey | None:
        """Follow the log from a position (default: from its first file); None without log."""
        contents = contents or self.contents()
        if (line := contents.line()) is None:
            return None
        first = contents.segments[0].number if since is None else since // contents.size
        gaps = list(find_gaps(contents, line, first))
        newest = Segment(line.timeline, line.last)
        if newest in contents.whole:
            return Survey(line, (line.last + 1) * contents.size, tuple(gaps))
        file = self.wal / (newest.name(contents.size) + PARTIAL)
        try:
            return Survey(line, end_of_log(file, newest, contents.size), tuple(gaps))
        except FileNotFoundError:
            # It was finished a moment ago.
            return Survey(line, (line.last + 1) * contents.size, tuple(gaps))

    def newest(self) -> int:
        """Return the position where the log ends, looking at its newest file only."""
        size = self.identity().segment_size
        names = [name for name, _ in _files(self.wal)]
        found = [name for name in names if SEGMENT_NAME.fullmatch(name.removesuffix(PARTIAL))]
        if not found:
            return 0
        newest = Segment.parse(max(found)[:24], size)
        whole = newest.name(size)
        if whole in found:
            return (newest.number + 1) * size
        try:
            return end_of_log(self.wal / (whole + PARTIAL), newest, size)
        except FileNotFoundError:
            # It was finished a moment ago.
            return (newest.number + 1) * size

    def file(self, segment: Segment, size: int) -> Path:
        """Return a segment's file, finished or not."""
        whole = self.wal / segment.name(size)
        return whole if whole.exists() else self.wal / (segment.name(size) + PARTIAL)

    def _fault(self, segment: Segment, size: int, identity: Identity) -> str:
        if size != identity.segment_size:
            return f"has {size} of {identity.segment_size} bytes"
        try:
            head = first_page(self.wal / segment.name(identity.segment_size))
        except OSError as exc:
            return f"cannot be read ({exc.strerror})"
        if head is None or head.address != segment.number * identity.segment_size:
            return "does not begin as a segment of that name does"
        if head.system_identifier != identity.system_identifier:
            return f"is of another server (system identifier {head.system_identifier})"
        return ""

    def _history(self, name: str) -> tuple[tuple[int, int], ...]:
        try:
            with open(self.wal / name, encoding="utf-8") as opened:
                return parse_history(opened.read(LARGEST_HISTORY))
        except (OSError, ValueError):
            return ()


def write_whole(file: Path, text: str, account: Account) -> None:
    """Write a file so that it is there whole or not at all, for its owner alone."""
    draft = file.with_name(f".{file.name}.new")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as opened:
        opened.write(text)
        opened.flush()
        os.fsync(opened.fileno())
    account.own(draft)
    draft.replace(file)
    folder = os.open(file.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


def _files(folder: Path) -> Iterator[tuple[str, int]]:
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_file(follow_symlinks=False):
                    yield entry.name, entry.stat(follow_symlinks=False).st_size
    except FileNotFoundError:
        # It was finished, and so renamed, while we looked; or there is no log at all.
        return
    except OSError as exc:
        raise ConfigurationError(f"{SETTING}: {folder} cannot be read ({exc.strerror}).") from None

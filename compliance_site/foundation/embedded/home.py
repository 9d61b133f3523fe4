"""Where the services of one checkout keep their programs, data and logs."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, replace
from pathlib import Path

from compliance_site.foundation.embedded import identity as identities
from compliance_site.foundation.embedded.locks import keep_owner
from compliance_site.foundation.embedded.unprivileged import Account, service_account

INSIDE = "services"
POSTGRES = "postgres"
OUTSIDE = Path("/var/lib/compliance-console")


@dataclass(frozen=True)
class Home:
    """A folder of ours, and who runs the services in it.

    The folder belongs to the owner of the checkout, the data folders in it to the account.
    Where these two differ, a service can neither replace its programs nor trick root with a link.
    """

    path: Path
    account: Account

    @property
    def postgres_data(self) -> Path:
        return self.path / POSTGRES

    @property
    def valkey_data(self) -> Path:
        return self.path / "valkey"

    @property
    def name(self) -> str:
        """A name that no other checkout's services have."""
        return f"compliance-{_digest(self.path)}"

    def make_data_folder(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        self.account.own(folder)


def locate(var: Path, *, inside: bool) -> Path:
    """Return the folder of the services; outside `var/` it is named after it, so checkouts never share one."""
    var = var.resolve()
    return var / INSIDE if inside else OUTSIDE / _digest(var)


def make_home(var: Path) -> Home:
    """Make the home, below `var/` if the account can get there, and remember where it is."""
    identity = identities.load(var)
    if identity.inside_var is None:
        inside = service_account(var, locate(var, inside=True) / POSTGRES).reaches(var)
        identities.save(var, replace(identity, inside_var=inside))
    home = find_home(var)
    assert home, "it has just been decided where the home is"
    _make_public(home.path)
    return home


def find_home(var: Path) -> Home | None:
    """Return the home, or None when the services have never been started."""
    inside = identities.load(var).inside_var
    if inside is None:
        return None
    path = locate(var, inside=inside)
    return Home(path, service_account(var, path / POSTGRES))


def _make_public(path: Path) -> None:
    """Make the home so that the account can enter it, whatever the umask; what exists stays as it is."""
    for folder in (path.parent, path):
        if not folder.exists():
            folder.mkdir()
            folder.chmod(0o755)
            keep_owner(folder)


def _digest(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:16]

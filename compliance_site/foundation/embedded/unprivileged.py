"""The user that the services run as: PostgreSQL refuses to run as root."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

CANDIDATES = ("postgres", "nobody")


@dataclass(frozen=True)
class Account:
    """A user to run processes as. Without ids it is the user we are already."""

    uid: int | None = None
    gid: int | None = None

    @property
    def groups(self) -> list[int] | None:
        """Drop root's supplementary groups when switching; only root may set them at all."""
        return None if self.uid is None else []

    def own(self, path: Path) -> None:
        """Give the account a file or folder that we made."""
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def reaches(self, folder: Path) -> bool:
        """Try whether the account can enter the folder, asking the kernel: it knows ACLs and mounts too."""
        if self.uid is None:
            return True
        test = subprocess.run(  # noqa: S603 - no user input
            ["test", "-x", folder],  # noqa: S607 - a standard program
            cwd="/",
            user=self.uid,
            group=self.gid,
            extra_groups=self.groups,
            check=False,
        )
        return test.returncode == 0


NOBODY = Account(65534, 65534)


def service_account(var: Path, data: Path) -> Account:
    """Return the account for the data folder of `var`.

    Root takes the data's owner; for new data the owner of the checkout, who may come without
    root next time, or an unprivileged user when the checkout is root's own.
    """
    if os.geteuid() != 0:
        return Account()
    if data.exists():
        return Account(data.stat().st_uid, data.stat().st_gid)
    users = (
        _user(pwd.getpwuid, var.stat().st_uid),
        *(_user(pwd.getpwnam, name) for name in CANDIDATES),
    )
    return next(
        (Account(user.pw_uid, user.pw_gid) for user in users if user and user.pw_uid != 0), NOBODY
    )


def _user[Key](find: Callable[[Key], pwd.struct_passwd], key: Key) -> pwd.struct_passwd | None:
    """Find a user; initdb would not run as one that has no entry."""
    try:
        return find(key)
    except KeyError:
        return None

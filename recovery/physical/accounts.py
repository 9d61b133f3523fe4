"""Who runs PostgreSQL's programs: never root, which PostgreSQL itself refuses to be."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from compliance_site.foundation.embedded.unprivileged import Account, service_account
from recovery.databases import Database
from recovery.exceptions import ConfigurationError
from recovery.programs import complaint, libpq

__all__ = ["Account", "account_of", "own_folder", "require_reach", "run", "start"]


def account_of(folder: Path) -> Account:
    """Return whom programs run as that work in a folder: as root its owner, or one who is not root."""
    owner = folder if folder.exists() else folder.parent
    # Root's own folder says nothing; then it is one of the accounts made for services.
    if os.geteuid() == 0 and owner.stat().st_uid == 0:
        return service_account(owner, owner / "none")
    return service_account(owner, owner)


def own_folder(folder: Path, account: Account) -> None:
    """Make a folder of the account's own, which nobody else may enter, unless it is there."""
    if not folder.exists():
        folder.mkdir(mode=0o700)
        account.own(folder)


def require_reach(folder: Path, account: Account, setting: str) -> None:
    """Raise `ConfigurationError` when the account cannot enter a folder."""
    if not account.reaches(folder):
        raise ConfigurationError(
            f"{setting}: the user {account.uid}, as whom PostgreSQL's programs run, cannot enter "
            f"{folder}. Choose a folder outside of root's own."
        )


def start(
    command: Sequence[str | Path],
    stderr: IO[bytes],
    *,
    account: Account,
    database: Database | None = None,
    environment: Mapping[str, str] | None = None,
    **popen: Any,
) -> subprocess.Popen[bytes]:
    """Start a program as an account; with a database it reaches that one by itself.

    Its files are for the account alone. The caller waits for it, and kills it.
    """
    common: dict[str, Any] = {
        "stdin": subprocess.DEVNULL,
        "stderr": stderr,
        "cwd": "/",
        "umask": 0o077,
        "user": account.uid,
        "group": account.gid,
        "extra_groups": account.groups,
    }
    base = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"} | dict(environment or {})
    if database is None:
        return subprocess.Popen(command, env=base, **common | popen)  # noqa: S603 - PostgreSQL's own
    with libpq(database) as (variables, descriptors):
        if account.uid is not None and account.gid is not None:
            # It opens the password file by its descriptor, as whom it runs.
            os.fchown(descriptors[0], account.uid, account.gid)
        handed_on = (*descriptors, *popen.pop("pass_fds", ()))
        return subprocess.Popen(  # noqa: S603 - PostgreSQL's own programs
            command, env=variables | base, pass_fds=handed_on, **common | popen
        )


def run(command: Sequence[str | Path], *, account: Account, **options: Any) -> str:
    """Run a program to its end and return what it printed; raise `ProgramError`."""
    with tempfile.TemporaryFile() as stderr:
        process = start(command, stderr, account=account, stdout=subprocess.PIPE, **options)
        try:
            output, _ = process.communicate()
        except BaseException:
            process.kill()
            process.wait()
            raise
        if process.returncode:
            raise complaint(Path(command[0]).name, process.returncode, stderr)
    return output.decode(errors="replace")

"""PostgreSQL's own programs, of the same major version as the server they are used on.

Not a newer one: its archive could not be read by the programs of the server it came from, and
its `pg_restore` sends settings that an older server does not know.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any

from django.conf import settings

from audit.capture.redaction import redact_text
from compliance_site.foundation import embedded
from compliance_site.foundation.embedded.exceptions import EmbeddedError
from compliance_site.foundation.paths import VAR_DIR
from compliance_site.foundation.supervisor.program import LEASH
from recovery.databases import Database
from recovery.exceptions import ProgramError

# Where Debian and Red Hat put them, one folder for each major version.
SYSTEM_FOLDERS = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin")
VERSION = re.compile(r"\(PostgreSQL\) (\d+)")
# libpq's options and the variables that say the same.
VARIABLES = {
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "channel_binding": "PGCHANNELBINDING",
    "target_session_attrs": "PGTARGETSESSIONATTRS",
}
LONGEST_ERROR = 500
# Between SIGTERM and SIGKILL for a program whose console is gone.
GRACE_SECONDS = "2"


@dataclass(frozen=True)
class Programs:
    """A folder with `pg_dump` and the others; `major` is 18 for 18.6."""

    folder: Path
    major: int

    def path(self, program: str) -> Path:
        """Return one of them; raise `ProgramError` when the installation is without it."""
        found = self.folder / program
        if not os.access(found, os.X_OK):
            raise ProgramError(
                f"{self.folder} has no {program}: install the whole client "
                f"(Debian: postgresql-client-{self.major}; servers need postgresql-{self.major})."
            )
        return found


def programs_for(server_version: int) -> Programs:
    """Return the programs that fit a server; raise `ProgramError` naming what is there instead."""
    major = server_version // 10_000
    known = {programs.major: programs for programs in installed()}
    if major not in known:
        there = ", ".join(str(each) for each in sorted(known)) or "none"
        raise ProgramError(
            f"The server is PostgreSQL {major} and needs that version's pg_dump and pg_restore; "
            f"found here: {there}. Install postgresql-client-{major}, or name its folder in "
            "POSTGRESQL_PROGRAMS."
        )
    return known[major]


def installed() -> list[Programs]:
    """Return what this machine has, one folder for each major version; the configured ones first."""
    folders = [Path(folder) for folder in settings.POSTGRESQL_PROGRAMS]
    folders += [
        folder for pattern in SYSTEM_FOLDERS for folder in sorted(Path("/").glob(pattern[1:]))
    ]
    folders += _embedded()
    found: dict[int, Programs] = {}
    for folder in folders:
        if (major := _major(folder)) is not None:
            found.setdefault(major, Programs(folder, major))
    return list(found.values())


@contextmanager
def libpq(database: Database) -> Iterator[tuple[dict[str, str], Sequence[int]]]:
    """Lend the environment and the descriptors by which a program reaches a database.

    The password is in neither: both could be read in `/proc`. It is in a file without a name,
    which the program opens by its descriptor.
    """
    with tempfile.TemporaryFile() as password_file:
        escaped = re.sub(r"([\\:])", r"\\\1", database.password.reveal())
        password_file.write(f"*:*:*:*:{escaped}\n".encode())
        password_file.flush()
        number = password_file.fileno()
        environment = {
            "PATH": os.defpath,
            "LC_ALL": "C",
            "TZ": "UTC",
            "PGHOST": database.host,
            "PGPORT": str(database.port),
            "PGUSER": database.user,
            "PGDATABASE": database.dbname,
            "PGPASSFILE": f"/dev/fd/{number}",
            "PGAPPNAME": "compliance-console-recovery",
            "PGCONNECT_TIMEOUT": "10",
        }
        options = dict(database.options)
        environment |= {VARIABLES[name]: options[name] for name in VARIABLES if name in options}
        yield environment, (number,)


def start(
    command: Sequence[str | Path],
    database: Database,
    stderr: IO[bytes],
    **popen: Any,
) -> subprocess.Popen[bytes]:
    """Start a program that reaches the database by itself; the caller waits for it, and kills it.

    It has opened its password file once it holds a connection; the descriptor stays open in it.
    """
    with libpq(database) as (environment, descriptors):
        return subprocess.Popen(  # noqa: S603 - PostgreSQL's own programs
            command,
            stdin=popen.pop("stdin", subprocess.DEVNULL),
            stderr=stderr,
            env=environment | popen.pop("env", {}),
            pass_fds=descriptors,
            **popen,
        )


def start_leashed(
    command: Sequence[str | Path],
    database: Database,
    stderr: IO[bytes],
    **popen: Any,
) -> subprocess.Popen[bytes]:
    """Start a program that ends with this process, even a killed one, and all that it started.

    `terminate()` kills it; a program that was killed ends with 128 and its signal.
    """
    with libpq(database) as (environment, descriptors):
        return subprocess.Popen(  # noqa: S603 - PostgreSQL's own programs
            [*_leash(descriptors), *command],
            stdin=subprocess.PIPE,
            stderr=stderr,
            env=environment | popen.pop("env", {}),
            pass_fds=descriptors,
            start_new_session=True,
            **popen,
        )


def _leash(descriptors: Sequence[int]) -> list[str]:
    keep = [part for number in descriptors for part in ("--keep", str(number))]
    # -I -S: the leash needs nothing but the standard library.
    return [sys.executable, "-I", "-S", str(LEASH), GRACE_SECONDS, *keep]


def complaint(program: str, code: int, stderr: IO[bytes]) -> ProgramError:
    """Return the error of a program that ended with `code`: the last of what it said, redacted."""
    stderr.seek(0)
    text = stderr.read()[-20_000:].decode(errors="replace").strip()
    ended = f"was killed by signal {-code}" if code < 0 else f"ended with {code}"
    said = redact_text(text)[-LONGEST_ERROR:]
    return ProgramError(f"{program} {ended}: {said or 'it said nothing'}")


def _embedded() -> list[Path]:
    """Return those of the wheel, which a production install does not carry."""
    try:
        return [embedded.services.postgres_programs(VAR_DIR)]
    except EmbeddedError:
        return []


@cache
def _major(folder: Path) -> int | None:
    """Ask `pg_dump` for its version; None where there is none that runs."""
    try:
        answer = subprocess.run(  # noqa: S603 - PostgreSQL's own program
            [folder / "pg_dump", "--version"], capture_output=True, check=True, timeout=20
        ).stdout.decode(errors="replace")
    except (OSError, subprocess.SubprocessError):
        return None
    found = VERSION.search(answer)
    return int(found[1]) if found else None

"""Ports and passwords of one checkout's embedded services, kept in `var/embedded.json`.

Reading them starts nothing: settings do it in every process.
"""

from __future__ import annotations

import json
import os
import re
import secrets
from dataclasses import asdict, dataclass, field
from pathlib import Path

from compliance_site.foundation.embedded import ports
from compliance_site.foundation.embedded.exceptions import EmbeddedError
from compliance_site.foundation.embedded.locks import exclusive, keep_owner, make_folder

FILE = "embedded.json"
LOCK = "embedded.lock"
DATABASE = "abtpro_db"
ADMIN, OWNER, RUNTIME = "compliance_admin", "compliance_owner", "compliance"


def password() -> str:
    return secrets.token_urlsafe(32)


@dataclass(frozen=True)
class Endpoints:
    """Where the services listen, passwords included; `repr` masks those.

    `admin_url` names the maintenance database `postgres`, the other two the console's own.
    """

    database_url: str
    owner_url: str
    admin_url: str
    redis_url: str

    def __repr__(self) -> str:
        urls = ", ".join(
            f"{name}={re.sub(':[^:@/]+@', ':***@', url)!r}" for name, url in asdict(self).items()
        )
        return f"Endpoints({urls})"


@dataclass(frozen=True)
class Identity:
    """What `embedded.json` holds."""

    postgres_port: int
    redis_port: int
    admin_password: str = field(default_factory=password, repr=False)
    owner_password: str = field(default_factory=password, repr=False)
    runtime_password: str = field(default_factory=password, repr=False)
    redis_password: str = field(default_factory=password, repr=False)
    # Whether the data lies below var/, which the first start decides (see home.py).
    inside_var: bool | None = None

    def postgres_url(self, role: str, database: str = DATABASE) -> str:
        passwords = {
            ADMIN: self.admin_password,
            OWNER: self.owner_password,
            RUNTIME: self.runtime_password,
        }
        return f"postgresql://{role}:{passwords[role]}@{ports.HOST}:{self.postgres_port}/{database}"

    def endpoints(self) -> Endpoints:
        return Endpoints(
            database_url=self.postgres_url(RUNTIME),
            owner_url=self.postgres_url(OWNER),
            admin_url=self.postgres_url(ADMIN, "postgres"),
            redis_url=f"redis://:{self.redis_password}@{ports.HOST}:{self.redis_port}/0",
        )


def load(var: Path) -> Identity:
    """Read the identity of the checkout whose `var/` this is, or make one that every process agrees on."""
    if not (var / FILE).exists():
        make_folder(var)
        with exclusive(var / LOCK):
            if not (var / FILE).exists():
                postgres_port = ports.choose()
                save(var, Identity(postgres_port, ports.choose(without=frozenset({postgres_port}))))
    try:
        return Identity(**json.loads((var / FILE).read_text(encoding="utf-8")))
    except PermissionError as exc:
        raise EmbeddedError(
            f"{var / FILE} cannot be read; does it belong to another user?"
        ) from exc
    except (ValueError, TypeError):
        # The text holds passwords, which the error's context would show.
        raise EmbeddedError(
            f"{var / FILE} is damaged; remove it and new ports and passwords are made."
        ) from None


def save(var: Path, identity: Identity) -> None:
    """Write `embedded.json` at once or not at all, readable by its owner only."""
    write_private(var / FILE, json.dumps(asdict(identity), indent=2) + "\n")


def write_private(path: Path, text: str) -> None:
    """Replace a file by one of mode 0600, in one step that a crash cannot halve."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        with open(
            os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8"
        ) as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        keep_owner(draft)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def endpoints(var: Path) -> Endpoints:
    """Return the addresses of this checkout's services, choosing ports and passwords the first time.

    They are valid whether or not the services run. `services.start` may move a service to
    another port, so long-lived processes are started after the services.
    """
    return load(var).endpoints()

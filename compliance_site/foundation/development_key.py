"""Keys for a console on embedded services, each made once and kept in `var/`."""

import base64
import os
import secrets
from pathlib import Path

import pyrage


def development_key(var: Path) -> str:
    """Return the `SECRET_KEY` in `var/secret_key`, made when it is not there yet."""
    return _made_once(var / "secret_key", secrets.token_urlsafe(64)).read_text(encoding="ascii")


def development_master_key(var: Path) -> Path:
    """Return the file of the master key, `var/master_key`, made when it is not there yet."""
    return _made_once(var / "master_key", base64.urlsafe_b64encode(os.urandom(32)).decode() + "\n")


def development_backup_identity(var: Path) -> str:
    """Return the age key in `var/backup_identity`, made when it is not there yet."""
    path = var / "backup_identity"
    if not path.exists():
        _made_once(path, f"{pyrage.x25519.Identity.generate()}\n")
    return path.read_text(encoding="ascii").strip()


def _made_once(path: Path, text: str) -> Path:
    """Write the file (mode 0600) unless it is there."""
    path.parent.mkdir(exist_ok=True)
    # Written beside and linked: of two first starts at once, both read the winner's key.
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    if not path.exists():
        with open(os.open(draft, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w") as file:
            file.write(text)
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path

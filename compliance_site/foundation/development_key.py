"""A `SECRET_KEY` for a console on embedded services, made once and kept in `var/`."""

import os
import secrets
from pathlib import Path


def development_key(var: Path) -> str:
    """Return the key in `var/secret_key`, made (mode 0600) when it is not there yet."""
    path = var / "secret_key"
    var.mkdir(exist_ok=True)
    # Written beside and linked: of two first starts at once, both read the winner's key.
    draft = var / f"secret_key.{os.getpid()}"
    if not path.exists():
        with open(os.open(draft, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(64))
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_text(encoding="ascii")

"""`python -m bench [NAME ...]`: run the measurements of these names, or all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def names() -> list[str]:
    """Return the modules of this package that measure something."""
    modules = sorted(Path(__file__).parent.glob("[a-z]*.py"))
    return [module.stem for module in modules if "\ndef main() ->" in module.read_text()]


def main() -> int:
    """Run each measurement in a process of its own; return 1 when one failed."""
    known = names()
    wanted = sys.argv[1:] or known
    if unknown := [name for name in wanted if name not in known]:
        sys.exit(f"Unknown: {', '.join(unknown)}. There are {', '.join(known)}.")
    ends = [
        subprocess.run([sys.executable, "-m", f"bench.{name}"], check=False).returncode
        for name in wanted
    ]
    return 1 if any(ends) else 0


if __name__ == "__main__":
    sys.exit(main())

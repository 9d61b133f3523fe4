"""Where the checkout is, and where the console keeps what it makes."""

import os
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent.parent
# Data of the embedded services, development keys, locks. Read without Django: services start
# before settings load.
VAR_DIR = Path(os.environ.get("COMPLIANCE_VAR_DIR") or BASE_DIR / "var").resolve()

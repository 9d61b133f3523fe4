"""Backups as the doors to them see them: rows of the catalogue, and real ones of a small database."""

from tests.recovery.backups.conftest import make_database, orders, places  # noqa: F401
from tests.recovery.doors import *  # noqa: F403

"""Physical backups of a server, its log as it is written, and the way back to any moment between.

What others call: `engine()`, `status()`, `pitr.restore()`, and of
`base_backups` `create()` and `prune()`, which record what they do.
"""

from recovery.physical.configured import archive, engine, is_configured
from recovery.physical.recovery_point import PhysicalStatus, status

__all__ = ["PhysicalStatus", "archive", "engine", "is_configured", "status"]

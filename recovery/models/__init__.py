"""The catalogue of backups, what their verifications found, health by the minute, and restores asked for.

A backup's truth is its manifest in the store; the catalogue also knows of those that failed.
"""

from recovery.models.backups import Backup, BackupKind, BackupState, Verification
from recovery.models.health import HealthProbe, HealthSample
from recovery.models.restores import RestoreRequest, RestoreRequestState

__all__ = [
    "Backup",
    "BackupKind",
    "BackupState",
    "HealthProbe",
    "HealthSample",
    "RestoreRequest",
    "RestoreRequestState",
    "Verification",
]

"""What can go wrong in recovery; the text is for whoever asked, and never holds a secret."""

from __future__ import annotations


class RecoveryError(Exception):
    """Root of what recovery refuses or cannot do."""


class UnknownDatabaseError(RecoveryError):
    """No database of this name is configured."""


class UnknownBackupError(RecoveryError):
    """There is no backup with this id."""


class ConfigurationError(RecoveryError):
    """A setting is missing or wrong; the text names it."""


class ProgramError(RecoveryError):
    """PostgreSQL's programs are missing, of another version, or ended with an error."""


class ServerAwayError(RecoveryError):
    """The database server cannot be reached or refuses."""


class StoreError(RecoveryError):
    """A place where backups are kept cannot be read or written."""


class SealError(RecoveryError):
    """A backup cannot be encrypted or decrypted with the keys at hand."""


class DamagedError(RecoveryError):
    """What is stored is not what was stored: truncated, changed, or signed by nobody known."""


class BusyError(RecoveryError):
    """Another process is at it; one at a time."""


class RefusedError(RecoveryError):
    """It would lose or risk data, or was not confirmed; the text says what to do first."""


class QueueAwayError(RecoveryError):
    """The queue of tasks cannot be reached, so no worker would hear of it. Nothing was begun."""

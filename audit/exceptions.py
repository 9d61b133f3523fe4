class AuditError(Exception):
    """The audit trail refused."""


class UnrecordedError(AuditError):
    """Neither the database nor the spool took the audit entry."""


class ActorMissingError(AuditError):
    """Nobody said who acts: open `acting_as(...)` around the code that records."""

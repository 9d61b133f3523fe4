class AuditError(Exception):
    """The audit trail refused."""


class ActorMissingError(AuditError):
    """Nobody said who acts: open `acting_as(...)` around the code that records."""

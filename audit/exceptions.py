class AuditError(Exception):
    """The audit trail refused."""


class UnrecordedError(AuditError):
    """Neither the database nor the spool took the audit entry."""


class ActorMissingError(AuditError):
    """Nobody said who acts: open `acting_as(...)` around the code that records."""


class LookupLimitError(AuditError):
    """This account has looked up as much as it may within an hour."""

    def __init__(self, wait_seconds: float) -> None:
        super().__init__(self.__doc__)
        self.wait_seconds = wait_seconds


class LookupTimeoutError(AuditError):
    """The period is too long to be searched in time; ask for a shorter one."""

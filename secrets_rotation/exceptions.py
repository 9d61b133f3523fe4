class RotationError(Exception):
    """The rotation was refused."""


class TargetError(RotationError):
    """The target did not do what it was asked."""


class TargetUnknownError(TargetError):
    """The target did not answer, or not clearly: nobody knows whether it did what it was asked.

    `reason` names what happened ("connection refused", "SQLSTATE 53300"); it never holds a value.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class ValueRefusedError(TargetError):
    """The target's own rules refuse the value; `rule` says which, never the value."""

    def __init__(self, rule: str) -> None:
        super().__init__(rule)
        self.rule = rule


class LeaseLostError(RotationError):
    """Another process carries on with this run; this one must not touch anything any more."""

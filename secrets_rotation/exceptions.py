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


class DeliveryError(RotationError):
    """The destination did not take the version.

    `reason` says why in a sentence that never holds a value; the outbox tries again.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class ConsumerError(RotationError):
    """The consumer cannot be registered or changed like this."""


class NotAcknowledgeableError(RotationError):
    """The version cannot be acknowledged."""


class UnknownVersionError(NotAcknowledgeableError):
    """The secret has no such version, or it has not become current yet."""


class OldVersionError(NotAcknowledgeableError):
    """The version is an old one; `current` is the number of the one to use (409)."""

    def __init__(self, number: int, current: int) -> None:
        super().__init__(f"Version {number} is an old one; version {current} is current.")
        self.number, self.current = number, current

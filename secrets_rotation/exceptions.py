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


class NameTakenError(ConsumerError):
    """The secret has a consumer of this name already."""


class NotAcknowledgeableError(RotationError):
    """The version cannot be acknowledged."""


class UnknownVersionError(NotAcknowledgeableError):
    """The secret has no such version, or it has not become current yet."""


class OldVersionError(NotAcknowledgeableError):
    """The version is an old one; `current` is the number of the one to use (409)."""

    def __init__(self, number: int, current: int) -> None:
        super().__init__(f"Version {number} is an old one; version {current} is current.")
        self.number, self.current = number, current


class ValueUnfitError(RotationError):
    """The value breaks a rule: `rule` names it, the message says what to do."""

    def __init__(self, rule: str, message: str) -> None:
        super().__init__(message)
        self.rule = rule


class UnknownSecretError(RotationError):
    """There is no such secret or type; the message names the nearest."""


class SecretRetiredError(RotationError):
    """This secret is retired; it does not rotate any more."""


class ValueNeededError(RotationError):
    """The console cannot make this value: supply it as newValue."""


class RunInFlightError(RotationError):
    """A rotation of this secret is under way; `run_id` says which."""

    def __init__(self, run_id: int) -> None:
        super().__init__(f"Rotation run {run_id} of this secret is under way.")
        self.run_id = run_id


class IdempotencyError(RotationError):
    """This Idempotency-Key was used with another request."""


class RunStateError(RotationError):
    """The run is not in a state in which this can be done."""

    def __init__(self, action: str, state: str) -> None:
        super().__init__(f"A run in {state} cannot be {action}.")


class PendingWorksError(RotationError):
    """The target takes the pending value: adopt that one, or roll the run back."""


class RunBusyError(RotationError):
    """Another process is at work on this run; try again in a moment."""


class UnknownRotatorError(RotationError):
    """There is no such rotator; the message names the nearest."""


class SecretExistsError(RotationError):
    """There is a secret of this type and name already, or was one that is retired."""


class FourEyesError(RotationError):
    """Whoever asked for an emergency rotation cannot approve it: another person must."""


class BreakGlassStateError(RotationError):
    """This emergency rotation was decided already."""


class NothingSelectedError(RotationError):
    """No secret matches."""

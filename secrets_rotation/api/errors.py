"""How refusals of the domain answer: 404 names the nearest, 409 the run, 422 the rule."""

from __future__ import annotations

from rest_framework.exceptions import APIException, NotFound, PermissionDenied, ValidationError
from rest_framework.response import Response
from rest_framework.views import APIView

from compliance_site.foundation.api.errors import Conflict, error_body
from compliance_site.foundation.master_key import EnvelopeError
from secrets_rotation import exceptions
from secrets_rotation.api.rotation_serializers import RULE_NAMES
from secrets_rotation.declared import SettingsError
from secrets_rotation.delivery.registry import UnknownDestinationError
from secrets_rotation.policies.rules import PolicyError


class Unprocessable(APIException):
    status_code = 422
    default_code = "unprocessable"


class TargetUnreachable(APIException):
    status_code = 504
    default_code = "target_unreachable"


class Sealed(APIException):
    """What the console keeps cannot be opened: a matter of its master key."""

    status_code = 503
    default_code = "sealed"


# What each refusal of the domain answers, and with which code if not its status's own.
ANSWERS: dict[type[exceptions.RotationError], tuple[type[APIException], str | None]] = {
    exceptions.BreakGlassStateError: (Conflict, None),
    exceptions.ConsumerError: (ValidationError, None),
    exceptions.FourEyesError: (PermissionDenied, None),
    exceptions.IdempotencyError: (Unprocessable, "idempotency_key_reused"),
    exceptions.LeaseLostError: (Conflict, None),
    exceptions.NameTakenError: (Conflict, None),
    exceptions.NothingSelectedError: (NotFound, None),
    exceptions.OldVersionError: (Conflict, None),
    exceptions.PendingWorksError: (Conflict, None),
    exceptions.RunBusyError: (Conflict, None),
    exceptions.RunStateError: (Conflict, None),
    exceptions.SecretExistsError: (Conflict, None),
    exceptions.SecretRetiredError: (Conflict, None),
    exceptions.TargetUnknownError: (TargetUnreachable, None),
    exceptions.UnknownRotatorError: (NotFound, None),
    exceptions.UnknownSecretError: (NotFound, None),
    exceptions.UnknownVersionError: (NotFound, None),
    exceptions.ValueNeededError: (Unprocessable, "value_needed"),
    UnknownDestinationError: (NotFound, None),
}


class RotationView(APIView):
    """A view whose domain refuses by `RotationError`."""

    def handle_exception(self, exc: Exception) -> Response:
        if isinstance(exc, exceptions.RunInFlightError):
            return _answer(409, "run_in_flight", str(exc), {"runId": [str(exc.run_id)]})
        if isinstance(exc, exceptions.ValueUnfitError):
            return _answer(422, f"value_{exc.rule}", str(exc), {"newValue": [str(exc)]})
        return super().handle_exception(translated(exc))


def translated(exc: Exception) -> Exception:
    """Return the API's error for one of the domain; any other as it is."""
    if isinstance(exc, EnvelopeError):
        return Sealed(str(exc))
    if isinstance(exc, PolicyError):
        return ValidationError({RULE_NAMES[name]: [text] for name, text in exc.fields.items()})
    if isinstance(exc, SettingsError):
        return ValidationError({name: [text] for name, text in exc.fields.items()})
    if isinstance(exc, exceptions.RotationError) and type(exc) in ANSWERS:
        answer, code = ANSWERS[type(exc)]
        return answer(str(exc), code)
    return exc


def _answer(status: int, code: str, message: str, fields: dict[str, list[str]]) -> Response:
    response = Response(error_body(code, message, fields), status=status)
    response.exception = True
    return response

"""How refusals of recovery answer, each in the one error shape."""

from __future__ import annotations

from rest_framework.exceptions import APIException, NotFound
from rest_framework.response import Response
from rest_framework.views import APIView

from compliance_site.foundation.api.errors import Conflict
from recovery import exceptions


class Damaged(APIException):
    """What is stored is not what was stored."""

    status_code = 422
    default_code = "damaged"


class Unavailable(APIException):
    """Something that the console needs is away or not set up; the text names it."""

    status_code = 503
    default_code = "unavailable"


ANSWERS: dict[type[exceptions.RecoveryError], tuple[type[APIException], str | None]] = {
    exceptions.BusyError: (Conflict, "busy"),
    exceptions.ConfigurationError: (Unavailable, "configuration"),
    exceptions.DamagedError: (Damaged, None),
    exceptions.ProgramError: (Unavailable, "programs"),
    exceptions.QueueAwayError: (Unavailable, "queue_away"),
    exceptions.RefusedError: (Conflict, None),
    exceptions.SealError: (Unavailable, "sealed"),
    exceptions.ServerAwayError: (Unavailable, "database_away"),
    exceptions.StoreError: (Unavailable, "store_away"),
    exceptions.UnknownBackupError: (NotFound, None),
    exceptions.UnknownDatabaseError: (NotFound, None),
}


class RecoveryView(APIView):
    """A view whose domain refuses by `RecoveryError`."""

    def handle_exception(self, exc: Exception) -> Response:
        if isinstance(exc, exceptions.RecoveryError) and type(exc) in ANSWERS:
            answer, code = ANSWERS[type(exc)]
            exc = answer(str(exc), code)
        return super().handle_exception(exc)

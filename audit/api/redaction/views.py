"""The door of the look-up: did this secret occur?"""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import APIException, Throttled
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from audit.api.permissions import LooksUpSecrets
from audit.api.redaction.serializers import LookupSerializer, OccurrencesSerializer
from audit.exceptions import LookupLimitError, LookupTimeoutError
from audit.reading.lookup import look_up


class SearchTimedOut(APIException):
    status_code = 503
    default_code = "search_timed_out"


class RedactionLookup(APIView):
    permission_classes = (LooksUpSecrets,)

    @extend_schema(request=LookupSerializer, responses=OccurrencesSerializer)
    def post(self, request: Request) -> Response:
        """Tell in which entries a value stood that was redacted.

        Of the last 90 days unless `startDate` and `endDate` say otherwise. Each look-up is
        recorded, without the value; 60 an hour are allowed.
        """
        query = LookupSerializer(data=request.data)
        query.is_valid(raise_exception=True)
        try:
            found = look_up(**query.validated_data)
        except LookupLimitError as exc:
            raise Throttled(wait=exc.wait_seconds) from exc
        except LookupTimeoutError as exc:
            raise SearchTimedOut(str(exc)) from exc
        return Response(OccurrencesSerializer(found).data)

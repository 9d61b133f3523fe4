"""The health endpoints: for load balancers, orchestrators and monitoring.

They ask neither session nor token before the database has answered, and each answers within two
seconds whatever stands still. Whoever is nobody gets the status and no more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.permissions import AllowAny
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from recovery.api import health_bodies as bodies
from recovery.api.health_serializers import (
    MAINTENANCE,
    BareSerializer,
    DetailedSerializer,
    PartSerializer,
    ReadySerializer,
)
from recovery.health import maintenance
from recovery.health.callers import may_see_details
from recovery.health.probes import Probe
from recovery.health.report import DATABASE, REDIS, Report, ask, components, report
from recovery.health.results import Status

RETRY_SECONDS = "5"


class HealthJSONRenderer(JSONRenderer):
    media_type = "application/health+json"
    format = "health+json"


class HealthView(APIView):
    """Open to everybody; whatever format is asked for, there is an answer."""

    authentication_classes = ()
    permission_classes = (AllowAny,)
    renderer_classes = (JSONRenderer, HealthJSONRenderer)
    http_method_names = ["get", "head"]

    def perform_content_negotiation(self, request: Request, force: bool = False) -> Any:
        return super().perform_content_negotiation(request, force=True)

    def perform_authentication(self, request: Request) -> None:
        """Ask nothing; DRF would also put nobody in the place of whom the session names."""

    def finalize_response(
        self, request: Request, response: Response, *args: Any, **kwargs: Any
    ) -> Response:
        response.headers["Cache-Control"] = "no-store"
        return super().finalize_response(request, response, *args, **kwargs)


class Alive(HealthView):
    @extend_schema(responses=BareSerializer)
    def get(self, request: Request) -> Response:
        """Answer that the process serves requests; nothing else is asked."""
        return _bare(request, Status.HEALTHY)


class Ready(HealthView):
    @extend_schema(responses={200: ReadySerializer, 503: ReadySerializer})
    def get(self, request: Request) -> Response:
        """Say whether a load balancer should send requests here: the database answers.

        Not the broker: without it pages and the API still answer, and tasks go out later.
        """
        if maintenance.is_on():
            return _bare(request, Status.UNHEALTHY, MAINTENANCE)
        return _bare(request, report((DATABASE,)).status)


class Detailed(HealthView):
    @extend_schema(responses={200: DetailedSerializer, 503: DetailedSerializer})
    def get(self, request: Request) -> Response:
        """Say how each part stands; 503 when one does not do its work."""
        found, sees_details = _asked(request, components(), machine=True)
        if not sees_details:
            return _bare(request, found.status)
        return _answer(request, found.status, bodies.detailed(found), bodies.draft_detailed(found))


class OnePart(HealthView):
    """One part; `probe` is given with the address."""

    probe: Probe | None = None

    @extend_schema(responses={200: PartSerializer, 503: PartSerializer})
    def get(self, request: Request) -> Response:
        """Say how this part stands; 503 when it does not do its work."""
        assert self.probe is not None, "given in the address"
        found, sees_details = _asked(request, (self.probe,))
        if not sees_details:
            return _bare(request, found.status)
        body = bodies.bare(found.status) | bodies.part(found.results[0])
        return _answer(request, found.status, body, bodies.draft_detailed(found))


alive = Alive.as_view()
ready = Ready.as_view()
detailed = Detailed.as_view()
database = OnePart.as_view(probe=DATABASE)
redis = OnePart.as_view(probe=REDIS)


def _asked(
    request: Request, probes: Sequence[Probe], *, machine: bool = False
) -> tuple[Report, bool]:
    """Return the report, and whether the caller may see its details: found out meanwhile."""
    asked = ask(probes, machine=machine)
    sees_details = may_see_details(request._request)
    return asked.report(), sees_details


def _bare(request: Request, status: Status, word: str = "") -> Response:
    return _answer(request, status, bodies.bare(word or status), bodies.draft_bare(status))


def _answer(
    request: Request, status: Status, body: dict[str, Any], draft: dict[str, Any]
) -> Response:
    """Answer in the format that was asked for, with 503 and when to come again if unhealthy."""
    is_draft = isinstance(request.accepted_renderer, HealthJSONRenderer)
    shown = draft if is_draft else body
    if status != Status.UNHEALTHY:
        return Response(shown)
    response = Response(shown, status=503, headers={"Retry-After": RETRY_SECONDS})
    # The answer is no error of ours, and is asked for every few seconds: the change is logged once.
    response._has_been_logged = True  # type: ignore[attr-defined]
    return response

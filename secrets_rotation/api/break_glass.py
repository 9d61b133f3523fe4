"""Break-glass: ask, approve or reject, watch."""

from __future__ import annotations

from typing import Any

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from compliance_site.foundation.api.filters import refuse_unknown
from secrets_rotation import break_glass, tasks
from secrets_rotation.api.break_glass_serializers import (
    BreakGlassListSerializer,
    BreakGlassSerializer,
    RequestSerializer,
)
from secrets_rotation.api.errors import RotationView
from secrets_rotation.api.permissions import Rotates, SeesRotation
from secrets_rotation.models import BreakGlass


def shown(id: int) -> BreakGlass:
    members = BreakGlass.objects.prefetch_related("members__secret", "members__run__rotation")
    return get_object_or_404(members, pk=id)


class BreakGlasses(RotationView):
    def get_permissions(self) -> Any:
        return [SeesRotation()] if self.request.method == "GET" else [Rotates()]

    @extend_schema(operation_id="secrets_break_glass_list", responses=BreakGlassListSerializer)
    def get(self, request: Request) -> Response:
        """List the last hundred emergencies, the newest first."""
        refuse_unknown(request.query_params, ())
        emergencies = BreakGlass.objects.prefetch_related(
            "members__secret", "members__run__rotation"
        )
        return Response(BreakGlassListSerializer({"breakGlass": emergencies[:100]}).data)

    @extend_schema(request=RequestSerializer, responses={201: BreakGlassSerializer})
    def post(self, request: Request) -> Response:
        """Ask for the rotation of every secret of a type or tag; another person approves it."""
        body = RequestSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        wanted = body.validated_data
        selection = break_glass.Selection(wanted.get("secret_type", ""), wanted.get("tag", ""))
        emergency = break_glass.request(
            selection, reason=wanted["reason"], is_without_grace=wanted["is_without_grace"]
        )
        return Response(BreakGlassSerializer(shown(emergency.pk)).data, status=201)


class BreakGlassDetail(RotationView):
    permission_classes = (SeesRotation,)

    @extend_schema(responses=BreakGlassSerializer)
    def get(self, request: Request, id: int) -> Response:
        """Show how far an emergency is, and what became of each secret."""
        return Response(BreakGlassSerializer(shown(id)).data)


class Approve(RotationView):
    permission_classes = (Rotates,)

    @extend_schema(request=None, responses=BreakGlassSerializer)
    def post(self, request: Request, id: int) -> Response:
        """Let it begin; only somebody else than who asked for it may."""
        break_glass.approve(shown(id))
        tasks.tick_soon()
        return Response(BreakGlassSerializer(shown(id)).data)


class Reject(RotationView):
    permission_classes = (Rotates,)

    @extend_schema(request=None, responses=BreakGlassSerializer)
    def post(self, request: Request, id: int) -> Response:
        """Call it off before it began."""
        break_glass.reject(shown(id))
        return Response(BreakGlassSerializer(shown(id)).data)

"""Runs: see their steps, decide where a person must."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from secrets_rotation import tasks
from secrets_rotation.api.errors import RotationView
from secrets_rotation.api.permissions import Rotates, SeesRotation
from secrets_rotation.api.secrets_serializers import (
    AdoptSerializer,
    RunSerializer,
    UsagesSerializer,
)
from secrets_rotation.models import Run
from secrets_rotation.runs import actions
from secrets_rotation.runs.usage import usages


def run_of(id: int) -> Run:
    runs = Run.objects.select_related("secret", "version").prefetch_related("steps")
    return get_object_or_404(runs, pk=id)


class RunDetail(RotationView):
    permission_classes = (SeesRotation,)

    @extend_schema(responses=RunSerializer)
    def get(self, request: Request, id: int) -> Response:
        """Show a run with its steps."""
        return Response(RunSerializer(run_of(id)).data)


class RunUsages(RotationView):
    permission_classes = (SeesRotation,)

    @extend_schema(responses=UsagesSerializer)
    def get(self, request: Request, id: int) -> Response:
        """Ask the target which sessions still use the run's old value."""
        return Response(UsagesSerializer({"usages": usages(run_of(id))}).data)


class RunAction(RotationView):
    """One decision about a run, after which it goes on."""

    permission_classes = (Rotates,)
    decision: ClassVar[tuple[Callable[[Run], None]]] = (actions.resume,)

    @extend_schema(request=None, responses=RunSerializer)
    def post(self, request: Request, id: int) -> Response:
        """Decide, and show what became of the run."""
        (decide,) = self.decision
        decide(run_of(id))
        tasks.advance_now(id)
        return Response(RunSerializer(run_of(id)).data)


class Resume(RunAction):
    """Go on where the run stopped."""


class RollBack(RunAction):
    """Take the new value back; only before it became current."""

    decision = (actions.roll_back,)


class EndGrace(RunAction):
    """End the old value now, whoever still uses it."""

    decision = (actions.end_grace,)


class Adopt(RotationView):
    permission_classes = (Rotates,)

    @extend_schema(request=AdoptSerializer, responses=RunSerializer)
    def post(self, request: Request, id: int) -> Response:
        """Take what the target accepts for the new value, once it is verified."""
        body = AdoptSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        actions.adopt(run_of(id), body.validated_data.get("newValue"))
        tasks.advance_now(id)
        return Response(RunSerializer(run_of(id)).data)

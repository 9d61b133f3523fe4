"""The documented endpoints: schedule, rotate, history, policy."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from compliance_site.foundation.api.filters import refuse_unknown
from secrets_rotation import catalogue, reading, tasks
from secrets_rotation.api.errors import RotationView, Unprocessable
from secrets_rotation.api.permissions import Rotates, SeesRotation
from secrets_rotation.api.rotation_serializers import (
    HistoryQuerySerializer,
    HistorySerializer,
    PolicyListSerializer,
    PolicySerializer,
    PreviewSerializer,
    RotatedSerializer,
    RotateSerializer,
    ScheduleSerializer,
)
from secrets_rotation.models import Policy, Rotation, Run, RunState, Secret, Trigger
from secrets_rotation.policies.change import change_policy, effects_of
from secrets_rotation.policies.preview import becoming_due
from secrets_rotation.runs.start import start

IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    location=OpenApiParameter.HEADER,
    description="The same key with the same body asks for the same rotation again.",
)
LONGEST_KEY = 200


class Schedule(RotationView):
    permission_classes = (SeesRotation,)

    @extend_schema(responses=ScheduleSerializer)
    def get(self, request: Request) -> Response:
        """List when each secret rotates next, the soonest first."""
        refuse_unknown(request.query_params, ())
        schedules = reading.schedule(Secret.objects.living())
        return Response(ScheduleSerializer({"schedules": schedules}).data)


class Rotate(RotationView):
    permission_classes = (Rotates,)

    @extend_schema(
        request=RotateSerializer,
        responses={200: RotatedSerializer, 202: RotatedSerializer},
        parameters=[IDEMPOTENCY_KEY],
    )
    def post(self, request: Request) -> Response:
        """Rotate one secret now, to `newValue` or to a value that the console makes.

        200 once the new value is current; 202 with the run's id while the target has not
        answered: the run goes on by itself.
        """
        body = RotateSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        wanted = body.validated_data
        secret = catalogue.find(wanted["secretType"], wanted["secretName"])
        run = start(
            secret,
            trigger=Trigger.MANUAL,
            supplied=wanted.get("newValue"),
            idempotency_key=idempotency_key(request),
        )
        tasks.advance_now(run.pk)
        return rotated(run)


class History(RotationView):
    permission_classes = (SeesRotation,)

    @extend_schema(parameters=[HistoryQuerySerializer], responses=HistorySerializer)
    def get(self, request: Request) -> Response:
        """List what was rotated, the newest first."""
        query = HistoryQuerySerializer(data=request.query_params)
        refuse_unknown(request.query_params, query.fields)
        query.is_valid(raise_exception=True)
        limit = query.validated_data.pop("limit")
        rotations = Rotation.objects.select_related("secret", "version")
        history = rotations.filter(**query.validated_data)[:limit]
        return Response(HistorySerializer({"history": history}).data)


class PolicyView(RotationView):
    permission_classes = (SeesRotation,)

    def get_permissions(self) -> Any:
        return [Rotates()] if self.request.method == "PUT" else super().get_permissions()

    @extend_schema(responses=PolicyListSerializer)
    def get(self, request: Request) -> Response:
        """List the policy of each type of secrets."""
        return Response(PolicyListSerializer({"policies": Policy.objects.all()}).data)

    @extend_schema(request=PolicySerializer, responses=PolicySerializer)
    def put(self, request: Request) -> Response:
        """Change the policy of a type; what is left out stays.

        `becomesDue` names the secrets that are due at once by it.
        """
        policy, rules = policy_body(request)
        effects = change_policy(policy, rules)
        policy.refresh_from_db()
        becomes_due = [effect.secret_name for effect in effects]
        return Response(PolicySerializer(policy).data | {"becomesDue": becomes_due})


class PolicyPreview(RotationView):
    permission_classes = (SeesRotation,)

    @extend_schema(request=PolicySerializer, responses=PreviewSerializer)
    def post(self, request: Request) -> Response:
        """Show when each secret would be due, without changing the policy."""
        effects = effects_of(*policy_body(request))
        due = {effect.secret_id for effect in becoming_due(effects)}
        rows = [{**effect.__dict__, "becomesDue": effect.secret_id in due} for effect in effects]
        return Response(PreviewSerializer({"effects": rows}).data)


def policy_body(request: Request) -> tuple[Policy, dict[str, object]]:
    body = PolicySerializer(data=request.data)
    body.is_valid(raise_exception=True)
    rules = {name: value for name, value in body.validated_data.items() if value is not None}
    return catalogue.policy_of(rules.pop("secret_type")), rules


def idempotency_key(request: Request) -> str | None:
    key = request.headers.get("Idempotency-Key", "")
    if len(key) > LONGEST_KEY or not key.isprintable():
        raise Unprocessable(f"Idempotency-Key: give up to {LONGEST_KEY} printable signs.")
    return key or None


def rotated(run: Run) -> Response:
    """Answer with what became of a rotation: done, under way, or refused by the target."""
    run = Run.objects.select_related("secret", "rotation").get(pk=run.pk)
    if run.state == RunState.ROLLED_BACK:
        raise Unprocessable(run.reason, "rotation_refused")
    context = {"next_rotation": reading.next_rotation(run.secret)}
    body = RotatedSerializer(run, context=context).data
    return Response(body, status=200 if body["status"] == "success" else 202)

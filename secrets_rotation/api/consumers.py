"""Consumers of a secret: who gets each new version, and who said that they use it."""

from __future__ import annotations

from typing import Any

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response

from audit.capture.actors import current
from secrets_rotation.api.consumers_serializers import (
    AcknowledgementSerializer,
    ConsumerListSerializer,
    ConsumerSerializer,
    NewConsumerSerializer,
)
from secrets_rotation.api.errors import RotationView
from secrets_rotation.api.permissions import Acknowledges, Rotates, SeesRotation
from secrets_rotation.delivery import consumers
from secrets_rotation.models import Consumer, Secret


def consumer_of(id: int, consumer_id: int) -> Consumer:
    living = Consumer.objects.filter(secret=id, retired_at=None)
    return get_object_or_404(living.select_related("secret"), pk=consumer_id)


class Consumers(RotationView):
    def get_permissions(self) -> Any:
        return [SeesRotation()] if self.request.method == "GET" else [Rotates()]

    @extend_schema(responses=ConsumerListSerializer)
    def get(self, request: Request, id: int) -> Response:
        """List the consumers with what was delivered to them and what they acknowledged."""
        secret = get_object_or_404(Secret, pk=id)
        living = secret.consumers.filter(retired_at=None).select_related("service_account")
        living = living.prefetch_related("deliveries__version", "acknowledgements__version")
        return Response(ConsumerListSerializer({"consumers": living}).data)

    @extend_schema(request=NewConsumerSerializer, responses={201: ConsumerSerializer})
    def post(self, request: Request, id: int) -> Response:
        """Add a consumer; the current version is on its way to it at once."""
        secret = get_object_or_404(Secret.objects.living(), pk=id)
        body = NewConsumerSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        consumer = consumers.register(secret, **body.validated_data)
        return Response(ConsumerSerializer(consumer).data, status=201)


class ConsumerDetail(RotationView):
    permission_classes = (Rotates,)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, id: int, consumer_id: int) -> Response:
        """Retire a consumer: nothing is delivered to it any more, and nobody waits for it."""
        consumers.retire(consumer_of(id, consumer_id))
        return Response(status=204)


class Acknowledgements(RotationView):
    permission_classes = (Acknowledges,)

    @extend_schema(request=AcknowledgementSerializer, responses=AcknowledgementSerializer)
    def post(self, request: Request, id: int, consumer_id: int) -> Response:
        """Say that the consumer uses a version; saying it again changes nothing.

        A service says so for its own consumers. When all have, the old value ends before the
        end of its grace.
        """
        consumer = consumer_of(id, consumer_id)
        if not consumers.may_acknowledge(request.user, consumer):
            raise PermissionDenied("This is not your consumer.")
        body = AcknowledgementSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        version = body.validated_data["version"]["number"]
        acknowledged = consumers.acknowledge(consumer, version, current().actor())
        return Response(AcknowledgementSerializer(acknowledged).data)

"""Secrets: list, add, change, retire. Never a value."""

from __future__ import annotations

from typing import Any

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from compliance_site.foundation.api.filters import refuse_unknown
from secrets_rotation import catalogue
from secrets_rotation.api.errors import RotationView
from secrets_rotation.api.permissions import Rotates, SeesRotation
from secrets_rotation.api.secrets_serializers import (
    NewSecretSerializer,
    SecretChangeSerializer,
    SecretListSerializer,
    SecretSerializer,
)
from secrets_rotation.models import Secret
from secrets_rotation.models.secrets import SecretQuerySet


def shown() -> SecretQuerySet:
    return Secret.objects.select_related("policy", "override").prefetch_related("depends_on")


class SecretView(RotationView):
    """Everybody with a person's role sees secrets, security officers change them."""

    def get_permissions(self) -> Any:
        return [SeesRotation()] if self.request.method == "GET" else [Rotates()]


class Secrets(SecretView):
    @extend_schema(operation_id="secrets_list", responses=SecretListSerializer)
    def get(self, request: Request) -> Response:
        """List the secrets that rotate."""
        refuse_unknown(request.query_params, ())
        return Response(SecretListSerializer({"secrets": shown().living()}).data)

    @extend_schema(request=NewSecretSerializer, responses={201: SecretSerializer})
    def post(self, request: Request) -> Response:
        """Add a secret. Its first rotation gives it a value."""
        body = NewSecretSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        wanted = body.validated_data
        wanted["depends_on"] = tuple(wanted["depends_on"])
        secret = catalogue.add(catalogue.Description(**wanted))
        return Response(SecretSerializer(secret).data, status=201)


class SecretDetail(SecretView):
    @extend_schema(responses=SecretSerializer)
    def get(self, request: Request, id: int) -> Response:
        """Show one secret, retired ones too."""
        return Response(SecretSerializer(get_object_or_404(shown(), pk=id)).data)

    @extend_schema(request=SecretChangeSerializer, responses=SecretSerializer)
    def patch(self, request: Request, id: int) -> Response:
        """Change a secret; what is left out stays, secret settings of the target too."""
        body = SecretChangeSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        catalogue.change(get_object_or_404(shown().living(), pk=id), **body.validated_data)
        return Response(SecretSerializer(shown().get(pk=id)).data)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, id: int) -> Response:
        """Retire a secret: it rotates no more, its history stays."""
        catalogue.retire(get_object_or_404(shown().living(), pk=id))
        return Response(status=204)

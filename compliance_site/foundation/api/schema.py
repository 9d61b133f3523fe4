"""What drf-spectacular cannot find out by itself: how callers authenticate, which filters exist."""

from __future__ import annotations

from typing import Any

import django_filters
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter

from compliance_site.foundation.api.filters import MomentFilter, RepeatedFilter

AUTHENTICATION = "compliance_site.foundation.api.authentication"


class TokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # the base
    target_class = f"{AUTHENTICATION}.ConsoleTokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, Any]:
        return {
            "type": "apiKey",
            "in": "header",
            "name": "Authorization",
            "description": "`Token <token>`, from `manage.py issue_token NAME --role ROLE`.",
        }


class SessionScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # the base
    target_class = f"{AUTHENTICATION}.ConsoleSessionAuthentication"
    name = "session"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, Any]:
        return {"type": "apiKey", "in": "cookie", "name": "sessionid"}


def filter_parameters(filters: type[django_filters.FilterSet]) -> list[OpenApiParameter]:
    """Describe a filter set's parameters, from its filters and their help texts."""
    return [
        OpenApiParameter(
            name,
            OpenApiTypes.DATETIME if isinstance(each, MomentFilter) else OpenApiTypes.STR,
            description=str(each.extra.get("help_text", "")),
            many=isinstance(each, RepeatedFilter),
        )
        for name, each in filters.base_filters.items()
    ]

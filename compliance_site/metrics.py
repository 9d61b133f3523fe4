"""`/metrics` for Prometheus: for callers in `HEALTH_DETAIL_NETWORKS`, and for operators."""

from django.conf import settings
from django.http import HttpResponse
from django_prometheus.exports import ExportToDjangoView
from drf_spectacular.utils import extend_schema
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from audit.capture.client_ip import is_client_within
from compliance_site.foundation.roles import Role, has_role


class FromDetailNetworkOrOperator(BasePermission):
    def has_permission(self, request: Request, view: APIView) -> bool:
        if is_client_within(request._request, settings.HEALTH_DETAIL_NETWORKS):
            return True
        return has_role(request.user, Role.OPERATOR)


class Metrics(APIView):
    permission_classes = (FromDetailNetworkOrOperator,)

    @extend_schema(responses={(200, "text/plain"): str})
    def get(self, request: Request) -> HttpResponse:
        """Return the metrics in Prometheus's text format."""
        answer: HttpResponse = ExportToDjangoView(request._request)
        return answer


metrics = Metrics.as_view()

"""`/metrics` for Prometheus: for callers in `HEALTH_DETAIL_NETWORKS`, and for operators."""

from django.conf import settings
from django.http import HttpResponse
from django_prometheus.exports import ExportToDjangoView
from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import APIException
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from audit.capture.client_ip import is_client_within
from compliance_site.foundation.roles import Role, has_role
from compliance_site.foundation.scraping import scrape
from recovery.health import report
from recovery.health.results import Status


class FromDetailNetworkOrOperator(BasePermission):
    def has_permission(self, request: Request, view: APIView) -> bool:
        if is_client_within(request._request, settings.HEALTH_DETAIL_NETWORKS):
            return True
        return has_role(request.user, Role.OPERATOR)


class DatabaseAwayError(APIException):
    status_code = 503
    default_code = "unavailable"
    default_detail = "Nobody can be identified while the database does not answer."


class Metrics(APIView):
    permission_classes = (FromDetailNetworkOrOperator,)

    def perform_authentication(self, request: Request) -> None:
        """Look nobody up whose address is enough, nor in a database that does not answer."""
        if is_client_within(request._request, settings.HEALTH_DETAIL_NETWORKS):
            return
        if report.DATABASE.result().status is Status.UNHEALTHY:
            raise DatabaseAwayError
        super().perform_authentication(request)

    @extend_schema(responses={(200, "text/plain"): str})
    def get(self, request: Request) -> HttpResponse:
        """Return the metrics in Prometheus's text format."""
        # Who knows that the database is away does not ask it for figures.
        database = report.DATABASE.result()
        with scrape(is_database_away=database.status is Status.UNHEALTHY):
            answer: HttpResponse = ExportToDjangoView(request._request)
        return answer


metrics = Metrics.as_view()

"""The documented endpoints of the log."""

from __future__ import annotations

from django.http import StreamingHttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework import generics
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from audit.api.permissions import ReadsAuditLog
from audit.api.serializers import (
    AuditLogPageSerializer,
    AuditLogSerializer,
    ExportQuerySerializer,
    PageQuerySerializer,
    StatisticsSerializer,
)
from audit.capture.recording import note
from audit.models import AuditLog, AuditLogQuerySet
from audit.reading.export import Export, Format, file_response, fingerprint
from audit.reading.filters import AuditLogFilter
from audit.reading.pages import page_of, up_to
from audit.reading.statistics import statistics
from compliance_site.foundation.api.filters import refuse_unknown
from compliance_site.foundation.api.schema import filter_parameters

FILTERS = filter_parameters(AuditLogFilter)


class AuditLogView(APIView):
    """Reads the log through the shared filters."""

    permission_classes = (ReadsAuditLog,)

    def matching(self, *other_parameters: str) -> AuditLogQuerySet:
        """Return the entries that the query asks for; refuse a query that is not understood."""
        params = self.request.query_params
        refuse_unknown(params, [*AuditLogFilter.base_filters, *other_parameters])
        filters = AuditLogFilter(params, queryset=AuditLog.objects.all())
        if not filters.is_valid():
            raise ValidationError(filters.errors)
        logs: AuditLogQuerySet = filters.qs
        return logs

    def export(
        self, logs: AuditLogQuerySet, as_of: int, file_format: Format
    ) -> StreamingHttpResponse:
        query = dict(self.request.query_params.lists())
        return file_response(Export(logs, as_of, file_format, query, self.request.path))


class AuditLogList(AuditLogView):
    @extend_schema(
        operation_id="audit_logs_list",
        parameters=[*FILTERS, PageQuerySerializer],
        responses=AuditLogPageSerializer,
    )
    def get(self, request: Request) -> Response | StreamingHttpResponse:
        """List entries, newest first.

        With `format=csv` or `format=json` and neither `page` nor `limit`, all that match are
        streamed as a file.
        """
        query = PageQuerySerializer(data=request.query_params)
        query.is_valid(raise_exception=True)
        logs = self.matching(*query.fields)
        wanted = query.validated_data.pop("format", None)
        page = page_of(logs, **query.validated_data)
        if wanted and not {"page", "limit"} & request.query_params.keys():
            return self.export(page.matching, page.as_of, Format(wanted))
        if wanted == Format.CSV:
            return self.export(page.rows, page.as_of, Format.CSV)
        note(**fingerprint(page.logs))
        return Response(AuditLogPageSerializer(page).data)


class AuditLogDetail(generics.RetrieveAPIView[AuditLog]):
    """One entry."""

    permission_classes = (ReadsAuditLog,)
    queryset = AuditLog.objects.all()
    serializer_class = AuditLogSerializer
    lookup_field = "id"


class AuditExport(AuditLogView):
    @extend_schema(
        parameters=[*FILTERS, ExportQuerySerializer], responses=AuditLogSerializer(many=True)
    )
    def get(self, request: Request) -> StreamingHttpResponse:
        """Stream all entries that match as CSV (default) or JSON."""
        query = ExportQuerySerializer(data=request.query_params)
        query.is_valid(raise_exception=True)
        logs, as_of = up_to(self.matching("format"))
        return self.export(logs, as_of, Format(query.validated_data["format"]))


class AuditStatistics(AuditLogView):
    @extend_schema(parameters=FILTERS, responses=StatisticsSerializer)
    def get(self, request: Request) -> Response:
        """Count the entries that match by action, by user and by endpoint."""
        return Response(StatisticsSerializer(statistics(self.matching())).data)

"""The documented endpoints of the log, and the door for other services' events."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.http import StreamingHttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework import generics, serializers, status
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from audit.api.permissions import ReadsAuditLog, SendsEvents
from audit.api.serializers import (
    AuditLogPageSerializer,
    AuditLogSerializer,
    EventSerializer,
    ExportQuerySerializer,
    IngestAnswerSerializer,
    PageQuerySerializer,
    StatisticsSerializer,
)
from audit.capture.ingest import Event, Outcome, ingest, make_event
from audit.capture.recording import note
from audit.models import AuditLog, AuditLogQuerySet
from audit.reading.export import Export, Format, file_response, fingerprint
from audit.reading.filters import AuditLogFilter
from audit.reading.pages import page_of, up_to
from audit.reading.statistics import statistics
from compliance_site.foundation.api.errors import Conflict, flat_fields
from compliance_site.foundation.api.filters import refuse_unknown
from compliance_site.foundation.api.schema import filter_parameters

FILTERS = filter_parameters(AuditLogFilter)
LARGEST_BATCH = 5_000
CONFLICT = "This source already used this id for another event."


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


class Events(APIView):
    permission_classes = (SendsEvents,)

    @extend_schema(request=EventSerializer, responses={201: IngestAnswerSerializer})
    def post(self, request: Request) -> Response:
        """Record one event, or up to 5,000 as `{"events": [...]}`.

        Resending is safe: an event whose source and id are known counts as a duplicate. In a
        batch the bad ones are named and the others accepted; a single bad one is a 400, an
        id that was used for another event a 409.
        """
        body: Any = request.data
        is_batch = isinstance(body, dict) and "events" in body
        bodies = _batch(body) if is_batch else [body]
        answer = _take_in(bodies, reporter=request.user.get_username(), is_batch=is_batch)
        return Response(IngestAnswerSerializer(answer).data, status=status.HTTP_201_CREATED)


def _batch(body: dict[str, Any]) -> list[Any]:
    events = body["events"]
    if not isinstance(events, list) or not 1 <= len(events) <= LARGEST_BATCH:
        raise ValidationError({"events": f"Give a list of 1 to {LARGEST_BATCH} events."})
    if len(body) > 1:
        raise ValidationError({"events": "A batch has no field beside events."})
    return events


def _take_in(bodies: list[Any], *, reporter: str, is_batch: bool) -> dict[str, Any]:
    events: dict[int, Event] = {}
    rejected: list[dict[str, Any]] = []
    foreign = _foreign_sources(bodies, reporter)
    for index, body in enumerate(bodies):
        try:
            events[index] = make_event(_valid(body, foreign), reporter=reporter)
        except ValidationError as refusal:
            if not is_batch:
                raise
            rejected.append(_rejection(index, body, _sentence(refusal)))
    outcomes = dict(zip(events, ingest(list(events.values())), strict=True))
    conflicts = [index for index, outcome in outcomes.items() if outcome is Outcome.CONFLICT]
    if conflicts and not is_batch:
        raise Conflict(CONFLICT)
    rejected += [_rejection(index, bodies[index], CONFLICT) for index in conflicts]
    counts = list(outcomes.values())
    return {
        "accepted": counts.count(Outcome.ACCEPTED),
        "duplicates": counts.count(Outcome.DUPLICATE),
        "rejected": sorted(rejected, key=lambda rejection: rejection["index"]),
    }


def _valid(body: Any, foreign_sources: set[str]) -> dict[str, Any]:
    serializer = EventSerializer(data=body)
    serializer.is_valid(raise_exception=True)
    fields: dict[str, Any] = serializer.validated_data
    if fields.get("source") in foreign_sources:
        raise ValidationError({"source": "This is another account's name; write as yourself."})
    return fields


def _foreign_sources(bodies: list[Any], reporter: str) -> set[str]:
    """Return which of the named sources belong to somebody else."""
    named = {body.get("source") for body in bodies if isinstance(body, dict)}
    texts = {name for name in named if isinstance(name, str) and "\0" not in name}
    accounts = get_user_model().objects.filter(username__in=texts - {reporter})
    return {"console", *accounts.values_list("username", flat=True)}


def _rejection(index: int, body: Any, error: str) -> dict[str, Any]:
    event_id = body.get("id") if isinstance(body, dict) else None
    return {"index": index, "id": event_id if isinstance(event_id, str) else None, "error": error}


def _sentence(refusal: serializers.ValidationError) -> str:
    fields = flat_fields(refusal.detail)
    return "; ".join(f"{name}: {texts[0]}" if name else texts[0] for name, texts in fields.items())

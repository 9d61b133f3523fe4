"""Backups: list, ask for one, verify, pin, download, plan a restore. No endpoint restores."""

from __future__ import annotations

from math import ceil
from typing import Any

from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from compliance_site.foundation.api.filters import refuse_unknown
from compliance_site.foundation.api.schema import filter_parameters
from recovery import databases, tasks
from recovery.api.errors import RecoveryView
from recovery.api.filters import BackupFilter
from recovery.api.permissions import Operates, SeesBackups
from recovery.api.serializers import (
    BackupDetailSerializer,
    BackupPageSerializer,
    BackupSerializer,
    NewBackupSerializer,
    PageQuerySerializer,
    PinSerializer,
    QueuedVerificationSerializer,
    RestorePlanSerializer,
)
from recovery.backups import catalogue, pins, requests
from recovery.backups.details import Details, details
from recovery.backups.download import file_response
from recovery.exceptions import UnknownDatabaseError
from recovery.models import Backup
from recovery.restore import describe
from recovery.restore.requests import look


class BackupView(RecoveryView):
    """Everybody with a person's role sees backups, operators act."""

    def get_permissions(self) -> Any:
        return [SeesBackups()] if self.request.method == "GET" else [Operates()]


class Backups(BackupView):
    @extend_schema(
        operation_id="backups_list",
        parameters=[*filter_parameters(BackupFilter), PageQuerySerializer],
        responses=BackupPageSerializer,
    )
    def get(self, request: Request) -> Response:
        """List backups, the newest first; failed and removed ones too."""
        query = PageQuerySerializer(data=request.query_params)
        refuse_unknown(request.query_params, [*BackupFilter.base_filters, *query.fields])
        query.is_valid(raise_exception=True)
        filters = BackupFilter(request.query_params, queryset=Backup.objects.defer("manifest"))
        if not filters.is_valid():
            raise ValidationError(filters.errors)
        return Response(BackupPageSerializer(_page(filters.qs, **query.validated_data)).data)

    @extend_schema(request=NewBackupSerializer, responses={202: BackupSerializer})
    def post(self, request: Request) -> Response:
        """Have a worker back a database up; the answer has the backup's id."""
        body = NewBackupSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        try:
            database = databases.database(body.validated_data["database"])
        except UnknownDatabaseError as exc:
            raise ValidationError({"database": [str(exc)]}) from exc
        backup = requests.request(database)
        tasks.send_backup(backup)
        backup.refresh_from_db()
        return Response(BackupSerializer(backup).data, status=202)


class BackupDetail(RecoveryView):
    permission_classes = (SeesBackups,)

    @extend_schema(responses=BackupDetailSerializer)
    def get(self, request: Request, id: str) -> Response:
        """Show a backup: what was signed of it, where it is, its verifications, why it is kept."""
        refuse_unknown(request.query_params, ())
        return Response(shown(details(catalogue.find(id))))


class VerifyBackup(RecoveryView):
    permission_classes = (Operates,)

    @extend_schema(request=None, responses={202: QueuedVerificationSerializer})
    def post(self, request: Request, id: str) -> Response:
        """Have a worker restore the backup into a scratch database and compare."""
        backup = catalogue.find(id)
        requests.refuse_unless_stored(backup)
        tasks.send_verification(backup)
        return Response({"id": backup.pk, "verification": "queued"}, status=202)


class PinBackup(RecoveryView):
    permission_classes = (Operates,)

    @extend_schema(request=PinSerializer, responses=BackupSerializer)
    def post(self, request: Request, id: str) -> Response:
        """Keep the backup until it is unpinned, whatever retention says."""
        body = PinSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        backup = catalogue.find(id)
        pins.pin(backup, body.validated_data["reason"])
        return Response(BackupSerializer(backup).data)

    @extend_schema(request=None, responses=BackupSerializer)
    def delete(self, request: Request, id: str) -> Response:
        """Let retention decide about the backup again."""
        backup = catalogue.find(id)
        pins.unpin(backup)
        return Response(BackupSerializer(backup).data)


class DownloadBackup(RecoveryView):
    permission_classes = (Operates,)

    @extend_schema(
        responses={(200, "application/octet-stream"): OpenApiResponse(OpenApiTypes.BINARY)}
    )
    def get(self, request: Request, id: str) -> StreamingHttpResponse:
        """Stream the sealed file, an age file; recorded with the bytes that left."""
        refuse_unknown(request.query_params, ())
        return file_response(catalogue.find(id))


class RestorePlan(RecoveryView):
    permission_classes = (Operates,)

    @extend_schema(responses=RestorePlanSerializer)
    def get(self, request: Request, id: str) -> Response:
        """Say what a restore of the backup would do and what speaks against it; change nothing."""
        refuse_unknown(request.query_params, ())
        return Response(describe.plan_json(look(catalogue.find(id))))


def shown(known: Details) -> dict[str, Any]:
    """Return a backup with all that is known of it."""
    parts = {
        "manifest": known.manifest,
        "manifestProblem": known.problem,
        "tables": known.largest_tables,
        "tableCount": len(known.tables),
        "rowCount": known.rows,
        "verifications": known.verifications,
        "retention": known.retention,
    }
    fields = BackupDetailSerializer().fields
    wholes = {
        name: fields[name].to_representation(part) if part is not None else None
        for name, part in parts.items()
    }
    return BackupSerializer(known.backup).data | wholes


def _page(backups: Any, *, page: int, limit: int) -> dict[str, Any]:
    total = backups.count()
    first = (page - 1) * limit
    rows = backups[first : first + limit]
    return {"backups": rows, "total": total, "page": page, "pages": ceil(total / limit)}

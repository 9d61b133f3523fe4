"""The door for other services' events."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.exceptions import Throttled, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from audit.api.event_check import checked
from audit.api.event_serializer import EventSerializer, IngestAnswerSerializer
from audit.api.permissions import SendsEvents
from audit.capture.ingest import BatchRedactor, Event, Outcome, ingest, is_own_source, make_event
from audit.capture.ingest_rate import seconds_to_wait
from audit.capture.redaction import storable_text
from compliance_site.foundation.api.errors import Conflict, flat_fields
from compliance_site.foundation.api.parsers import (
    BrokenLine,
    CompressedJSONParser,
    JSONLinesParser,
    Lines,
)

LARGEST_BATCH = 5_000
CONFLICT = "This source already used this id for another event."


class Events(APIView):
    permission_classes = (SendsEvents,)
    parser_classes = (CompressedJSONParser, JSONLinesParser)

    @extend_schema(
        request={
            "application/json": EventSerializer,
            "application/x-ndjson": EventSerializer,
        },
        responses={201: IngestAnswerSerializer},
    )
    def post(self, request: Request) -> Response:
        """Record one event, or up to 5,000 as `{"events": [...]}` or as one JSON text a line.

        Lines have the type `application/x-ndjson`. `Content-Encoding: gzip` is understood; a
        body is at most 10 MB, inflated. Resending is safe: an event whose source and id are
        known counts as a duplicate. In a batch the bad ones are named and the others
        accepted; a single bad one is a 400, an id that was used for another event a 409.
        More events in a minute than the account may send are a 429.
        """
        body: Any = request.data
        is_single = not isinstance(body, Lines) and not (
            isinstance(body, dict) and "events" in body
        )
        bodies = [body] if is_single else _batch(body)
        if seconds := seconds_to_wait(request.user.get_username(), len(bodies)):
            raise Throttled(seconds, "More events than this account may send in a minute.")
        answer = _take_in(bodies, reporter=request.user.get_username(), is_single=is_single)
        return Response(IngestAnswerSerializer(answer).data, status=status.HTTP_201_CREATED)


def _batch(body: Lines | dict[str, Any]) -> list[Any]:
    events = body if isinstance(body, Lines) else body["events"]
    if not isinstance(events, list) or not 1 <= len(events) <= LARGEST_BATCH:
        raise ValidationError({"events": f"Give a list of 1 to {LARGEST_BATCH} events."})
    if isinstance(body, dict) and len(body) > 1:
        raise ValidationError({"events": "A batch has no field beside events."})
    return events


def _take_in(bodies: list[Any], *, reporter: str, is_single: bool) -> dict[str, Any]:
    events: dict[int, Event] = {}
    redactor, now = BatchRedactor.installed(), timezone.now()
    rejected: list[dict[str, Any]] = []
    for index, body in enumerate(bodies):
        try:
            events[index] = _event(body, reporter, redactor, now)
        except ValidationError as refusal:
            if is_single:
                raise
            rejected.append(_rejection(index, body, _sentence(refusal)))
    outcomes = dict(zip(events, ingest(list(events.values())), strict=True))
    conflicts = [index for index, outcome in outcomes.items() if outcome is Outcome.CONFLICT]
    if conflicts and is_single:
        raise Conflict(CONFLICT)
    rejected += [_rejection(index, bodies[index], CONFLICT) for index in conflicts]
    counts = list(outcomes.values())
    return {
        "accepted": counts.count(Outcome.ACCEPTED),
        "duplicates": counts.count(Outcome.DUPLICATE),
        "rejected": sorted(rejected, key=lambda rejection: rejection["index"]),
    }


def _event(body: Any, reporter: str, redactor: BatchRedactor, now: datetime) -> Event:
    if isinstance(body, BrokenLine):
        raise ValidationError(body.error)
    event = make_event(checked(body), reporter=reporter, now=now, redactor=redactor)
    source, _ = event.key
    if not is_own_source(source, reporter):
        raise ValidationError(
            {"source": f"Write as yourself: {reporter}, or {reporter}/ and a name below it."}
        )
    return event


def _rejection(index: int, body: Any, error: str) -> dict[str, Any]:
    event_id = body.get("id") if isinstance(body, dict) else None
    # Perhaps the very text that is wrong: it has to be encoded in the answer.
    named = storable_text(event_id) if isinstance(event_id, str) else None
    return {"index": index, "id": named, "error": error}


def _sentence(refusal: serializers.ValidationError) -> str:
    fields = flat_fields(refusal.detail)
    return "; ".join(f"{name}: {texts[0]}" if name else texts[0] for name, texts in fields.items())

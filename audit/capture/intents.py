"""Intents: rows committed before something happens, so that a killed process leaves a trace.

An intent is complete when the log holds an entry of the console with its event id. The
others are closed, once they are older than any request, by an entry that says `unknown`:
nobody can tell what the process had done when it died. Should the request end after all,
its own entry is recorded too, marked `late`, and the log holds both.
"""

from __future__ import annotations

import os
import socket
import uuid
from datetime import datetime, timedelta

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from audit.capture import writer
from audit.capture.actors import ANONYMOUS, Circumstances
from audit.capture.calls import action_of
from audit.capture.recording import LONGEST, clipped, details_text, entry
from audit.capture.redaction import redact_text
from audit.models import AuditLog, Intent

ORPHANS_AT_ONCE = 1_000

# Marks the event ids of intents, so that an index finds their entries among all others.
PREFIX = "intent-"

# The time bound keeps the search out of older partitions; a minute allows for a clock that
# was set back meanwhile. Only the console's own entry counts: a service chooses its event ids.
ORPHANS = """
SELECT * FROM audit_intent AS intent
WHERE created_at >= %(since)s AND created_at < %(until)s AND NOT EXISTS (
    SELECT FROM audit_log
    WHERE audit_log.event_id = intent.event_id AND audit_log.event_id LIKE 'intent-%%'
      AND audit_log.source = 'console'
      AND audit_log.created_at >= intent.created_at - interval '1 minute'
)
ORDER BY created_at LIMIT %(limit)s
"""


def announce(circumstances: Circumstances, *, method: str, resource: str, route: str) -> Intent:
    """Commit the intent of a request; raise `UnrecordedError` when the database is away."""
    texts = {
        "request_id": circumstances.request_id,
        "user_agent": circumstances.user_agent,
        "method": method,
        "resource": resource,
        "route": route,
    }
    intent = Intent(
        event_id=f"{PREFIX}{uuid.uuid4()}",
        ip_address=circumstances.ip_address,
        host=socket.gethostname(),
        pid=os.getpid(),
        **{name: clipped(redact_text(text), LONGEST[name]) for name, text in texts.items()},
    )
    writer.announce(intent)
    return intent


def orphan_age() -> timedelta:
    """Return how old an intent without an entry is when it counts as orphaned."""
    return timedelta(minutes=settings.AUDIT_ORPHAN_MINUTES)


def is_late(intent: Intent) -> bool:
    """Tell whether the intent may have been closed as unknown already."""
    return timezone.now() - intent.created_at >= orphan_age()


def close_orphans(now: datetime | None = None) -> int:
    """Record every orphaned intent as unknown; return how many there were.

    Only one process does so at a time; another one returns 0 at once. Intents older than the
    retention are left alone: their entries may be archived already.
    """
    now = now or timezone.now()
    count = closed = _close_some(now)
    while closed == ORPHANS_AT_ONCE:
        closed = _close_some(now)
        count += closed
    return count


@transaction.atomic
def _close_some(now: datetime) -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(hashtext('audit_close_orphans'))")
        (is_alone,) = cursor.fetchone()
    if not is_alone:
        return 0
    bounds = {
        "since": now - timedelta(days=settings.AUDIT_RETENTION_DAYS),
        "until": now - orphan_age(),
        "limit": ORPHANS_AT_ONCE,
    }
    logs = [_unknown(intent) for intent in Intent.objects.raw(ORPHANS, bounds)]
    if logs:
        writer.write(logs)
    return len(logs)


def _unknown(intent: Intent) -> AuditLog:
    """Make the entry of a request of which nothing is known but that it began."""
    circumstances = Circumstances(
        actor=lambda: ANONYMOUS,
        request_id=intent.request_id,
        ip_address=intent.ip_address,
        user_agent=intent.user_agent,
    )
    return entry(
        circumstances,
        actor=ANONYMOUS,
        event_id=intent.event_id,
        occurred_at=intent.created_at,
        action=action_of(intent.method),
        resource=intent.resource,
        route=intent.route,
        method=intent.method,
        details=details_text({"outcome": "unknown"}),
    )

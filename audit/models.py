"""The log's entry, what keeps ingested events single, and the intents of requests.

All tables are append-only: the runtime role has no right to change them and triggers
refuse everyone else. The SQL is in `migrations/`.
"""

from __future__ import annotations

from django.db import connection, models
from django.utils import timezone


class Action(models.TextChoices):
    """What the console itself records. A service that sends events may name others."""

    CREATE = "CREATE"
    READ = "READ"
    UPDATE = "UPDATE"
    DELETE = "DELETE"
    LOGIN = "LOGIN"
    LOGOUT = "LOGOUT"
    LOGIN_FAILED = "LOGIN_FAILED"
    EXPORT = "EXPORT"
    ISSUE_TOKEN = "ISSUE_TOKEN"  # noqa: S105  an action, no password
    AUDIT_OUTAGE_START = "AUDIT_OUTAGE_START"
    AUDIT_OUTAGE_END = "AUDIT_OUTAGE_END"
    START = "START"
    STOP = "STOP"
    COMMAND = "COMMAND"
    LOOKUP = "LOOKUP"
    ROTATE = "ROTATE"
    REWRAP = "REWRAP"
    RETIRE = "RETIRE"
    DELIVER = "DELIVER"
    DELIVERY_FAILED = "DELIVERY_FAILED"
    ACKNOWLEDGE = "ACKNOWLEDGE"
    BACKUP = "BACKUP"
    VERIFY = "VERIFY"
    PRUNE = "PRUNE"
    PIN = "PIN"
    DOWNLOAD = "DOWNLOAD"
    RESTORE = "RESTORE"
    FAILOVER = "FAILOVER"


class ActorType(models.TextChoices):
    USER = "user"
    SERVICE = "service"
    TASK = "task"
    COMMAND = "command"
    ANONYMOUS = "anonymous"


# PostgreSQL has no skip scan for DISTINCT: a log of millions has a dozen actions.
DISTINCT_ACTIONS = """
WITH RECURSIVE hop AS (
    SELECT min(action) AS action FROM audit_log
    UNION ALL
    SELECT (SELECT min(action) FROM audit_log WHERE action > hop.action)
    FROM hop WHERE hop.action IS NOT NULL
)
SELECT action FROM hop WHERE action IS NOT NULL
"""


class AuditLogQuerySet(models.QuerySet["AuditLog"]):
    def actions(self) -> list[str]:
        """Return every action in the log, by hopping through the index from one to the next."""
        with connection.cursor() as cursor:
            cursor.execute(DISTINCT_ACTIONS)
            return [action for (action,) in cursor.fetchall()]

    def newest_id(self) -> int:
        """Return the id of the entry recorded last, 0 in an empty log."""
        return self.aggregate(newest=models.Max("id"))["newest"] or 0


class AuditLog(models.Model):
    """One entry: an API call, or an event that an app or a service recorded."""

    id = models.BigAutoField(primary_key=True)
    created_at = models.DateTimeField("time", default=timezone.now, editable=False)
    occurred_at = models.DateTimeField(null=True, editable=False)
    source = models.CharField(max_length=100, default="console")
    event_id = models.CharField(max_length=200, blank=True)
    request_id = models.CharField(max_length=200, blank=True)
    actor_type = models.CharField(max_length=20, choices=ActorType.choices)
    user_id = models.BigIntegerField("user", null=True)
    actor = models.CharField(max_length=200, blank=True)
    action = models.CharField(max_length=50)
    resource = models.CharField(max_length=2000)
    route = models.CharField(max_length=2000, blank=True)
    query = models.TextField(blank=True)
    method = models.CharField(max_length=20, blank=True)
    status_code = models.SmallIntegerField("status", null=True)
    duration_ms = models.IntegerField("took", null=True)
    ip_address = models.GenericIPAddressField("from", null=True)
    user_agent = models.CharField(max_length=1000, blank=True)
    request_data = models.TextField(blank=True)
    response_data = models.TextField(blank=True)
    response_bytes = models.BigIntegerField(null=True)
    details = models.TextField(blank=True)

    objects = AuditLogQuerySet.as_manager()

    class Meta:
        db_table = "audit_log"
        ordering = ("-created_at", "-id")
        verbose_name = "audit log entry"
        verbose_name_plural = "audit log"
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"#{self.pk} {self.action} {self.resource}"


class IngestedEvent(models.Model):
    """The key under which a service's event was accepted, kept as long as its entry."""

    pk = models.CompositePrimaryKey("source", "event_id")
    source = models.CharField(max_length=100)
    event_id = models.CharField(max_length=200)
    body_hash = models.BinaryField(max_length=32)
    created_at = models.DateTimeField()

    class Meta:
        db_table = "audit_ingested_event"
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.source} {self.event_id}"


class Intent(models.Model):
    """That a request was about to be served; its entry in the log has the same event id."""

    event_id = models.CharField(max_length=200, primary_key=True)
    created_at = models.DateTimeField(default=timezone.now)
    request_id = models.CharField(max_length=200, blank=True)
    method = models.CharField(max_length=20, blank=True)
    resource = models.CharField(max_length=2000)
    # Known for a stream only, whose intent is written after its view ran.
    route = models.CharField(max_length=2000, blank=True)
    ip_address = models.GenericIPAddressField(null=True)
    user_agent = models.CharField(max_length=1000, blank=True)
    host = models.CharField(max_length=255)
    pid = models.IntegerField()

    class Meta:
        db_table = "audit_intent"
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.event_id} {self.method} {self.resource}"

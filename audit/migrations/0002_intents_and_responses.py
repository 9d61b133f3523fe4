"""What left as an answer, and the intents of requests that must not vanish with their server.

The new columns have defaults: the release before this one goes on writing.
"""

import django.utils.timezone
from django.db import migrations, models

RESPONSE = """
ALTER TABLE audit_log
    ADD COLUMN response_data text NOT NULL DEFAULT '',
    ADD COLUMN response_bytes bigint;
"""
NO_RESPONSE = "ALTER TABLE audit_log DROP COLUMN response_data, DROP COLUMN response_bytes"

INTENT = """
CREATE TABLE audit_intent (
    event_id text PRIMARY KEY,
    created_at timestamptz NOT NULL,
    request_id text NOT NULL,
    method text NOT NULL,
    resource text NOT NULL,
    route text NOT NULL,
    ip_address inet,
    user_agent text NOT NULL,
    host text NOT NULL,
    pid integer NOT NULL
);
CREATE INDEX audit_intent_time ON audit_intent (created_at);
CREATE TRIGGER audit_refuse_change BEFORE UPDATE OR DELETE ON audit_intent
    FOR EACH ROW EXECUTE FUNCTION audit_refuse_change();
CREATE TRIGGER audit_refuse_truncate BEFORE TRUNCATE ON audit_intent
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_change();
ALTER TABLE audit_intent ENABLE ALWAYS TRIGGER audit_refuse_change;
ALTER TABLE audit_intent ENABLE ALWAYS TRIGGER audit_refuse_truncate;
"""

# Of entries with an intent only, which are few: all others cost nothing.
INTENT_INDEX = """
CREATE INDEX audit_log_intent ON audit_log (event_id) WHERE event_id LIKE 'intent-%';
"""


class Migration(migrations.Migration):
    dependencies = [("audit", "0001_audit_log")]

    operations = [
        migrations.RunSQL(
            RESPONSE,
            NO_RESPONSE,
            state_operations=[
                migrations.AddField("auditlog", "response_data", models.TextField(blank=True)),
                migrations.AddField(
                    "auditlog", "response_bytes", models.BigIntegerField(null=True)
                ),
            ],
        ),
        migrations.RunSQL(
            INTENT,
            "DROP TABLE audit_intent",
            state_operations=[
                migrations.CreateModel(
                    name="Intent",
                    fields=[
                        (
                            "event_id",
                            models.CharField(max_length=200, primary_key=True, serialize=False),
                        ),
                        ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
                        ("request_id", models.CharField(blank=True, max_length=200)),
                        ("method", models.CharField(blank=True, max_length=20)),
                        ("resource", models.CharField(max_length=2000)),
                        ("route", models.CharField(blank=True, max_length=2000)),
                        ("ip_address", models.GenericIPAddressField(null=True)),
                        ("user_agent", models.CharField(blank=True, max_length=1000)),
                        ("host", models.CharField(max_length=255)),
                        ("pid", models.IntegerField()),
                    ],
                    options={"db_table": "audit_intent", "default_permissions": ()},
                ),
            ],
        ),
        migrations.RunSQL(INTENT_INDEX, "DROP INDEX audit_log_intent"),
    ]

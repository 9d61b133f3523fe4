"""The log: monthly partitions that accept new rows and nothing else.

Written by hand where Django has no word for it: partitions, triggers, a function that the
runtime role may call to make next month's partition without a right to alter tables.
"""

import django.utils.timezone
from django.db import migrations, models

ACTOR_TYPES = [
    ("user", "User"),
    ("service", "Service"),
    ("task", "Task"),
    ("command", "Command"),
    ("anonymous", "Anonymous"),
]

# Rights come first (the runtime role gets INSERT and SELECT, see
# foundation/database.py); the triggers refuse the owner too, and are ENABLE ALWAYS
# because `session_replication_role = replica` skips every other trigger.
REFUSE_CHANGE = """
CREATE FUNCTION audit_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'insufficient_privilege';
END
$$;
"""

# The key of a partitioned table must hold the partition column. The id comes from one
# sequence, and the runtime role has no right to name an id itself.
AUDIT_LOG = """
CREATE SEQUENCE audit_log_id_seq AS bigint;
CREATE TABLE audit_log (
    id bigint NOT NULL DEFAULT nextval('audit_log_id_seq'),
    created_at timestamptz NOT NULL,
    occurred_at timestamptz,
    source text NOT NULL,
    event_id text NOT NULL,
    request_id text NOT NULL,
    actor_type text NOT NULL,
    user_id bigint,
    actor text NOT NULL,
    action text NOT NULL,
    resource text NOT NULL,
    route text NOT NULL,
    query text NOT NULL,
    method text NOT NULL,
    status_code smallint,
    duration_ms integer,
    ip_address inet,
    user_agent text NOT NULL,
    request_data text NOT NULL,
    details text NOT NULL,
    PRIMARY KEY (id, created_at)
) PARTITION BY RANGE (created_at);
ALTER SEQUENCE audit_log_id_seq OWNED BY audit_log.id;
CREATE INDEX audit_log_time ON audit_log (created_at DESC, id DESC);
CREATE INDEX audit_log_user ON audit_log (user_id, created_at DESC, id DESC);
CREATE INDEX audit_log_action ON audit_log (action, created_at DESC, id DESC);
CREATE INDEX audit_log_resource ON audit_log (resource text_pattern_ops, created_at DESC);
CREATE INDEX audit_log_request ON audit_log (request_id);
CREATE TRIGGER audit_refuse_change BEFORE UPDATE OR DELETE ON audit_log
    FOR EACH ROW EXECUTE FUNCTION audit_refuse_change();
CREATE TRIGGER audit_refuse_truncate BEFORE TRUNCATE ON audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_change();
ALTER TABLE audit_log ENABLE ALWAYS TRIGGER audit_refuse_change;
ALTER TABLE audit_log ENABLE ALWAYS TRIGGER audit_refuse_truncate;
"""

INGESTED_EVENT = """
CREATE TABLE audit_ingested_event (
    source text NOT NULL,
    event_id text NOT NULL,
    body_hash bytea NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (source, event_id)
);
CREATE TRIGGER audit_refuse_change BEFORE UPDATE OR DELETE ON audit_ingested_event
    FOR EACH ROW EXECUTE FUNCTION audit_refuse_change();
CREATE TRIGGER audit_refuse_truncate BEFORE TRUNCATE ON audit_ingested_event
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_change();
ALTER TABLE audit_ingested_event ENABLE ALWAYS TRIGGER audit_refuse_change;
ALTER TABLE audit_ingested_event ENABLE ALWAYS TRIGGER audit_refuse_truncate;
"""

# Asks the catalog's rows, not to_regclass: its cache may still say "no such table" after the
# lock was waited for, because waiting for an advisory lock does not bring it up to date.
HAS_PARTITION = """
CREATE FUNCTION audit_has_partition(name text) RETURNS boolean
LANGUAGE sql VOLATILE SET search_path = public, pg_temp AS $$
    SELECT EXISTS (
        SELECT FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
        WHERE inhparent = 'audit_log'::regclass AND relname = name
    )
$$;
"""

# ATTACH, not CREATE ... PARTITION OF: it lets writers go on. A TRUNCATE trigger is not
# inherited, and a cloned row trigger is made ENABLE ALWAYS again to be sure of it.
MAKE_PARTITION = """
CREATE FUNCTION audit_make_partition(day date) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    first date := make_date(extract(year FROM day)::int, extract(month FROM day)::int, 1);
    following date := (first + interval '1 month')::date;
    name text := 'audit_log_' || to_char(first, 'YYYY_MM');
BEGIN
    IF audit_has_partition(name) THEN
        RETURN false;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('audit_make_partition'));
    IF audit_has_partition(name) THEN
        RETURN false;
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE audit_log INCLUDING DEFAULTS)', name);
    EXECUTE format('ALTER TABLE audit_log ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
        name, first || ' 00:00:00+00', following || ' 00:00:00+00');
    EXECUTE format('CREATE TRIGGER audit_refuse_truncate BEFORE TRUNCATE ON %I
        FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_change()', name);
    EXECUTE format('ALTER TABLE %I ENABLE ALWAYS TRIGGER audit_refuse_change', name);
    EXECUTE format('ALTER TABLE %I ENABLE ALWAYS TRIGGER audit_refuse_truncate', name);
    RETURN true;
END
$$;
REVOKE ALL ON FUNCTION audit_make_partition(date) FROM PUBLIC;
SELECT audit_make_partition((now() + make_interval(months => ahead))::date)
    FROM generate_series(0, 12) AS ahead;
"""


class Migration(migrations.Migration):
    initial = True
    dependencies = []

    operations = [
        migrations.RunSQL(REFUSE_CHANGE, "DROP FUNCTION audit_refuse_change"),
        migrations.RunSQL(
            AUDIT_LOG,
            "DROP TABLE audit_log",
            state_operations=[
                migrations.CreateModel(
                    name="AuditLog",
                    fields=[
                        ("id", models.BigAutoField(primary_key=True, serialize=False)),
                        (
                            "created_at",
                            models.DateTimeField(
                                default=django.utils.timezone.now,
                                editable=False,
                                verbose_name="time",
                            ),
                        ),
                        ("occurred_at", models.DateTimeField(editable=False, null=True)),
                        ("source", models.CharField(default="console", max_length=100)),
                        ("event_id", models.CharField(blank=True, max_length=200)),
                        ("request_id", models.CharField(blank=True, max_length=200)),
                        ("actor_type", models.CharField(choices=ACTOR_TYPES, max_length=20)),
                        ("user_id", models.BigIntegerField(null=True, verbose_name="user")),
                        ("actor", models.CharField(blank=True, max_length=200)),
                        ("action", models.CharField(max_length=50)),
                        ("resource", models.CharField(max_length=2000)),
                        ("route", models.CharField(blank=True, max_length=2000)),
                        ("query", models.TextField(blank=True)),
                        ("method", models.CharField(blank=True, max_length=20)),
                        (
                            "status_code",
                            models.SmallIntegerField(null=True, verbose_name="status"),
                        ),
                        ("duration_ms", models.IntegerField(null=True, verbose_name="took")),
                        (
                            "ip_address",
                            models.GenericIPAddressField(null=True, verbose_name="from"),
                        ),
                        ("user_agent", models.CharField(blank=True, max_length=1000)),
                        ("request_data", models.TextField(blank=True)),
                        ("details", models.TextField(blank=True)),
                    ],
                    options={
                        "verbose_name": "audit log entry",
                        "verbose_name_plural": "audit log",
                        "db_table": "audit_log",
                        "ordering": ("-created_at", "-id"),
                        "default_permissions": ("view",),
                    },
                ),
            ],
        ),
        migrations.RunSQL(
            INGESTED_EVENT,
            "DROP TABLE audit_ingested_event",
            state_operations=[
                migrations.CreateModel(
                    name="IngestedEvent",
                    fields=[
                        (
                            "pk",
                            models.CompositePrimaryKey(
                                "source",
                                "event_id",
                                blank=True,
                                editable=False,
                                primary_key=True,
                                serialize=False,
                            ),
                        ),
                        ("source", models.CharField(max_length=100)),
                        ("event_id", models.CharField(max_length=200)),
                        ("body_hash", models.BinaryField(max_length=32)),
                        ("created_at", models.DateTimeField()),
                    ],
                    options={"db_table": "audit_ingested_event", "default_permissions": ()},
                ),
            ],
        ),
        migrations.RunSQL(HAS_PARTITION, "DROP FUNCTION audit_has_partition(text)"),
        migrations.RunSQL(MAKE_PARTITION, "DROP FUNCTION audit_make_partition(date)"),
    ]

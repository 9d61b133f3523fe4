"""History, steps and acknowledgements are never changed, by whomever; when secrets are due."""

from django.db import migrations

APPEND_ONLY = (
    "secrets_rotation_acknowledgement",
    "secrets_rotation_history",
    "secrets_rotation_step",
)

REFUSE = """
CREATE FUNCTION secrets_rotation_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END $$;
"""

TRIGGERS = """
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON {table}
    FOR EACH ROW EXECUTE FUNCTION secrets_rotation_refuse_change();
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON {table}
    FOR EACH STATEMENT EXECUTE FUNCTION secrets_rotation_refuse_change();
ALTER TABLE {table} ENABLE ALWAYS TRIGGER refuse_change;
ALTER TABLE {table} ENABLE ALWAYS TRIGGER refuse_truncate;
"""

NO_TRIGGERS = """
DROP TRIGGER refuse_change ON {table};
DROP TRIGGER refuse_truncate ON {table};
"""

# The day after which a secret is due, at 00:00 UTC. Months are counted from the anchor, so that
# 31 January, 28 February and 31 March follow one another.
DUE = """
CREATE FUNCTION secrets_rotation_due(anchor date, rotated date, count integer, unit text)
RETURNS timestamptz LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (CASE unit
    WHEN 'days' THEN rotated + count
    ELSE (
        SELECT min(day) FROM (
            SELECT (anchor + make_interval(months => count * step))::date AS day
            FROM generate_series(
                greatest(0, ((extract(year FROM rotated) - extract(year FROM anchor)) * 12
                    + extract(month FROM rotated) - extract(month FROM anchor))::integer / count),
                greatest(0, ((extract(year FROM rotated) - extract(year FROM anchor)) * 12
                    + extract(month FROM rotated) - extract(month FROM anchor))::integer / count) + 1
            ) AS step
        ) AS days WHERE day > rotated
    )
END)::timestamp AT TIME ZONE 'UTC';
"""


class Migration(migrations.Migration):
    dependencies = [("secrets_rotation", "0001_secrets_and_runs")]

    operations = [
        migrations.RunSQL(REFUSE, "DROP FUNCTION secrets_rotation_refuse_change()"),
        *(
            migrations.RunSQL(TRIGGERS.format(table=table), NO_TRIGGERS.format(table=table))
            for table in APPEND_ONLY
        ),
        migrations.RunSQL(DUE, "DROP FUNCTION secrets_rotation_due(date, date, integer, text)"),
    ]

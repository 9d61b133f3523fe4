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

# When a secret is due, at 00:00 UTC. Months are counted from the anchor, so that 31 January,
# 28 February and 31 March follow one another. Plain expressions only, so that PostgreSQL takes
# them into the query: called as functions they cost more than all the rest of the look.
MONTHS = """
CREATE FUNCTION secrets_rotation_months(anchor date, day date)
RETURNS integer LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN greatest(0, (extract(year FROM day) - extract(year FROM anchor)) * 12
    + extract(month FROM day) - extract(month FROM anchor))::integer;
"""

DUE = """
CREATE FUNCTION secrets_rotation_due(anchor date, rotated date, count integer, unit text)
RETURNS timestamptz LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (CASE
    WHEN unit = 'days' THEN (rotated + count)::timestamp
    WHEN (anchor + make_interval(
        months => secrets_rotation_months(anchor, rotated) / count * count))::date > rotated
    THEN anchor + make_interval(
        months => secrets_rotation_months(anchor, rotated) / count * count)
    ELSE anchor + make_interval(
        months => (secrets_rotation_months(anchor, rotated) / count + 1) * count)
END) AT TIME ZONE 'UTC';
"""


class Migration(migrations.Migration):
    dependencies = [("secrets_rotation", "0001_secrets_and_runs")]

    operations = [
        migrations.RunSQL(REFUSE, "DROP FUNCTION secrets_rotation_refuse_change()"),
        *(
            migrations.RunSQL(TRIGGERS.format(table=table), NO_TRIGGERS.format(table=table))
            for table in APPEND_ONLY
        ),
        migrations.RunSQL(MONTHS, "DROP FUNCTION secrets_rotation_months(date, date)"),
        migrations.RunSQL(DUE, "DROP FUNCTION secrets_rotation_due(date, date, integer, text)"),
    ]

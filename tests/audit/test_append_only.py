import pytest
from django.db import DatabaseError, connection, connections, transaction

from audit.models import AuditLog, Intent

REFUSED_TO_RUNTIME = [
    "UPDATE audit_log SET actor = 'nobody'",
    "DELETE FROM audit_log",
    "TRUNCATE audit_log",
    "TRUNCATE audit_log_2025_11",
    "INSERT INTO audit_log_2025_11 SELECT * FROM audit_log",
    "SELECT * FROM audit_log_2025_11",
    "UPDATE audit_log_2025_11 SET actor = 'nobody'",
    "DELETE FROM audit_log_2025_11",
    "DROP TABLE audit_log",
    "DROP TABLE audit_log_2025_11",
    "ALTER TABLE audit_log DETACH PARTITION audit_log_2025_11",
    "ALTER TABLE audit_log DISABLE TRIGGER ALL",
    "ALTER TABLE audit_log ADD COLUMN note text",
    "CREATE TABLE mine (id int)",
    "CREATE RULE hide AS ON INSERT TO audit_log DO INSTEAD NOTHING",
    "CREATE TRIGGER mine BEFORE INSERT ON audit_log FOR EACH ROW EXECUTE FUNCTION audit_refuse_change()",
    "SELECT setval('audit_log_id_seq', 1)",
    "SET session_replication_role = replica",
    "DROP FUNCTION audit_make_partition(date)",
    "INSERT INTO audit_log (id) VALUES (1)",
    "UPDATE audit_ingested_event SET body_hash = ''",
    "DELETE FROM audit_ingested_event",
    "TRUNCATE audit_ingested_event",
    "UPDATE audit_intent SET resource = ''",
    "DELETE FROM audit_intent",
    "TRUNCATE audit_intent",
    "DELETE FROM django_migrations",
]
REFUSED_TO_OWNER = [
    "UPDATE audit_log SET actor = 'nobody'",
    "DELETE FROM audit_log",
    "TRUNCATE audit_log",
    "TRUNCATE audit_log_2025_11",
    "DELETE FROM audit_log_2025_11",
    "UPDATE audit_ingested_event SET body_hash = ''",
    "TRUNCATE audit_ingested_event",
    "UPDATE audit_intent SET resource = ''",
    "DELETE FROM audit_intent",
    "TRUNCATE audit_intent",
]


@pytest.mark.django_db
@pytest.mark.parametrize("statement", REFUSED_TO_RUNTIME)
def test_the_runtime_role_is_refused(make_log, statement):
    make_log()

    with pytest.raises(DatabaseError) as refusal, transaction.atomic():
        connection.cursor().execute(statement)

    assert refusal.value.__cause__.sqlstate == "42501"
    assert AuditLog.objects.get().actor == "a.meyer"


@pytest.mark.parametrize("statement", REFUSED_TO_OWNER)
@pytest.mark.parametrize("replication_role", ["origin", "replica"])
def test_the_owner_is_refused_by_triggers(
    committed_db, administrator, make_log, ingested_event, statement, replication_role
):
    make_log()
    ingested_event()
    Intent.objects.create(event_id="intent-1", resource="/bot", host="web", pid=1)
    administrator(
        "GRANT SET ON PARAMETER session_replication_role TO compliance_owner",
    )

    with connections["owner"].cursor() as cursor:
        cursor.execute(f"SET session_replication_role = {replication_role}")
        with pytest.raises(DatabaseError, match="is append-only"):
            cursor.execute(statement)

    assert AuditLog.objects.get().actor == "a.meyer"


@pytest.fixture
def ingested_event():
    def make():
        connection.cursor().execute(
            "INSERT INTO audit_ingested_event VALUES ('trading-api', '1', '\\x00', now())"
        )

    return make

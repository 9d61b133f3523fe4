import pytest
from django.db import connection
from django.test import Client

from audit.models import AuditLog

pytestmark = pytest.mark.urls("tests.audit.capture.views")


def test_a_view_that_lost_its_connection_is_still_recorded(committed_db):
    answer = Client().get("/break")

    assert answer.content == b"lost"
    assert AuditLog.objects.get().resource == "/break"


def test_without_the_database_no_answer_leaves_unrecorded(committed_db):
    connection.close()
    port = connection.settings_dict["PORT"]
    connection.settings_dict["PORT"] = 1
    try:
        answer = Client().get("/nothing")
    finally:
        connection.close()
        connection.settings_dict["PORT"] = port

    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "audit_unavailable")
    assert answer.headers["Retry-After"] == "5"
    assert not AuditLog.objects.exists()

import pytest
from django.db import connection
from django.test import Client

from audit.models import AuditLog

pytestmark = pytest.mark.urls("tests.audit.capture.views")


def test_a_view_that_lost_its_connection_is_still_recorded(committed_db):
    answer = Client().get("/break")

    assert answer.content == b"lost"
    assert AuditLog.objects.get().resource == "/break"


@pytest.fixture
def without_database(committed_db):
    """Nothing listens where the database was."""
    connection.close()
    port = connection.settings_dict["PORT"]
    connection.settings_dict["PORT"] = 1
    yield
    connection.close()
    connection.settings_dict["PORT"] = port


def test_without_the_database_an_answer_waits_for_the_spool(without_database, settings):
    answer = Client().get("/nothing")

    assert answer.status_code == 200
    assert b"/nothing" in settings.AUDIT_SPOOL.read_bytes()


def test_without_the_database_a_session_of_somebody_is_recorded_as_unknown(
    without_database, settings
):
    client = Client(raise_request_exception=False)
    client.cookies["sessionid"] = "a" * 32

    answer = client.get("/async")

    assert answer.status_code == 503
    (line,) = (line for line in settings.AUDIT_SPOOL.read_bytes().splitlines() if b"/async" in line)
    assert b"unknown: the database was away" in line


def test_without_database_and_spool_no_answer_leaves_unrecorded(without_database, settings):
    settings.AUDIT_SPOOL.parent.write_text("a file where the folder should be")

    answer = Client().get("/nothing")

    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "audit_unavailable")
    assert answer.headers["Retry-After"] == "5"

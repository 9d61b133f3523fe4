import psycopg
import pytest
from django.db import InterfaceError, OperationalError, ProgrammingError
from django.test import RequestFactory

from compliance_site.foundation.api.errors import server_error
from compliance_site.foundation.postgresql.silence import NoAnswer


def answer_to(exception, cause=None, path="/secrets"):
    try:
        raise exception from cause
    except type(exception):
        return server_error(RequestFactory().get(path))


@pytest.mark.parametrize(
    ("exception", "cause"),
    [
        (OperationalError(), NoAnswer()),
        (OperationalError(), psycopg.OperationalError("connection refused")),
        (OperationalError(), psycopg.errors.AdminShutdown()),
        (OperationalError(), psycopg.errors.CannotConnectNow()),
        (OperationalError(), psycopg.errors.ConnectionFailure()),
        (InterfaceError(), psycopg.InterfaceError("connection already closed")),
        (OperationalError("The database is away."), None),
    ],
)
def test_a_database_that_is_away_is_no_bug_of_the_console(exception, cause):
    answer = answer_to(exception, cause)

    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert b'"code": "unavailable"' in answer.content
    assert b"refused" not in answer.content


@pytest.mark.parametrize(
    ("exception", "cause"),
    [
        (OperationalError(), psycopg.errors.QueryCanceled()),
        (OperationalError(), psycopg.errors.DeadlockDetected()),
        (ProgrammingError(), psycopg.errors.UndefinedTable()),
        (KeyError("name"), None),
    ],
)
def test_what_the_database_refused_is_an_error(exception, cause):
    answer = answer_to(exception, cause)

    assert answer.status_code == 500
    assert "Retry-After" not in answer.headers


def test_the_admin_answers_with_a_page_that_asks_no_database():
    answer = answer_to(OperationalError(), NoAnswer(), "/admin/audit/auditlog/")

    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert b"<h1>The database does not answer</h1>" in answer.content


def test_the_admin_answers_a_bug_with_its_page():
    assert answer_to(KeyError("name"), path="/admin/").status_code == 500

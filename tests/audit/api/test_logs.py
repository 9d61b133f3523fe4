from datetime import UTC, datetime, timedelta

import pytest

from audit.models import AuditLog
from tests.conftest import NOW

pytestmark = pytest.mark.django_db


def ids(answer):
    assert answer.status_code == 200, answer.content
    return [log["id"] for log in answer.json()["logs"]]


def fields(answer):
    assert answer.status_code == 400, answer.content
    error = answer.json()["error"]
    assert error["code"] == "invalid"
    return error["fields"]


def test_a_listing_has_the_documented_shape(auditor, make_log):
    log = make_log()

    answer = auditor.get("/audit/logs")

    assert answer.json() == {
        "logs": [
            {
                "id": log.id,
                "userId": 1,
                "action": "CREATE",
                "resource": "/bot/start",
                "method": "POST",
                "statusCode": 200,
                "ipAddress": "192.168.1.100",
                "userAgent": "Mozilla/5.0",
                "requestData": '{"strategy":"RSI_CROSS"}',
                "createdAt": "2025-11-09T10:30:00.000000Z",
                "actor": "a.meyer",
                "actorType": "user",
                "source": "trading-api",
                "eventId": "",
                "occurredAt": None,
                "requestId": "",
                "route": "",
                "query": "",
                "durationMs": None,
                "responseData": "",
                "responseBytes": None,
                "details": "",
            }
        ],
        "total": 1,
        "page": 1,
        "pages": 1,
        "asOf": log.id,
    }


def test_the_documents_example_finds_what_it_says(auditor, make_log):
    wanted = make_log()
    make_log(user_id=2)
    make_log(action="READ")
    make_log(created_at=NOW - timedelta(days=30))

    answer = auditor.get("/audit/logs?userId=1&action=CREATE&startDate=2025-11-01T00:00:00Z")

    assert ids(answer) == [wanted.id]


@pytest.mark.parametrize(
    ("query", "matching"),
    [
        ("method=post", {"method": "POST"}),
        ("statusCode=404", {"status_code": 404}),
        ("statusCode=4xx", {"status_code": 429}),
        ("ip=10.0.0.7", {"ip_address": "10.0.0.7"}),
        ("requestId=abcdefgh", {"request_id": "abcdefgh"}),
        ("actorType=service", {"actor_type": "service"}),
        ("source=other", {"source": "other"}),
        ("q=PAY", {"resource": "/payments"}),
        ("resource=/user/preferences", {"resource": "/user/preferences"}),
        ("resource=/user/*", {"resource": "/user/preferences"}),
        ("userId=2&userId=3", {"user_id": 3}),
        ("action=login", {"action": "LOGIN"}),
        ("action=SETTLE", {"action": "SETTLE"}),
    ],
)
def test_each_filter_finds_its_entries_and_no_other(auditor, make_log, query, matching):
    make_log(method="GET")
    wanted = make_log(**{"method": "GET"} | matching)

    assert ids(auditor.get(f"/audit/logs?{query}")) == [wanted.id]


@pytest.mark.parametrize(
    ("period", "found"),
    [
        ("startDate=2025-12-31&endDate=2025-12-31", True),
        ("startDate=2025-12-31T23:59:59Z", True),
        ("endDate=2025-12-31", True),
        ("endDate=2025-12-31T23:59:59Z", False),
        ("endDate=2025-12-30", False),
        ("startDate=2026-01-01", False),
        ("startDate=2026-01-01T00:59:59%2B01:00", True),
        # The plus of an offset, lost because nobody encoded it.
        ("startDate=2026-01-01T00:59:59+01:00", True),
        ("startDate=2026-01-01T01:00:01+01:00", False),
        ("startDate=2025-12-31T23:59:59", True),
    ],
)
def test_periods_are_half_open_and_a_date_includes_its_day(auditor, make_log, period, found):
    make_log(created_at=datetime(2025, 12, 31, 23, 59, 59, tzinfo=UTC))

    assert bool(ids(auditor.get(f"/audit/logs?{period}"))) is found


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("userId=abc", "userId"),
        ("userId=99999999999999999999", "userId"),
        ("userId=-1", "userId"),
        ("action=BOGUS", "action"),
        ("action=%00", "action"),
        ("startDate=yesterday", "startDate"),
        ("startDate=2025-02-30", "startDate"),
        ("startDate=9999-12-31T23:59:59-23:00", "startDate"),
        ("endDate=9999-12-31", "endDate"),
        ("startDate=2025-12-02&endDate=2025-12-01", "startDate"),
        ("page=0", "page"),
        ("page=x", "page"),
        ("page=99999999999", "page"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("asOf=-1", "asOf"),
        ("method=1", "method"),
        ("statusCode=9xx", "statusCode"),
        ("statusCode=99", "statusCode"),
        ("statusCode=4040", "statusCode"),
        ("ip=localhost", "ip"),
        ("actorType=robot", "actorType"),
        ("resource=%00", "resource"),
        ("q=%00", "q"),
        ("format=xml", "format"),
        ("userid=1", "userid"),
        ("colour=red", "colour"),
    ],
)
def test_what_is_not_understood_is_refused_by_name(auditor, query, field):
    assert list(fields(auditor.get(f"/audit/logs?{query}"))) == [field]


def test_an_unknown_parameter_names_the_nearest(auditor):
    answer = auditor.get("/audit/logs?userid=1")

    assert fields(answer) == {"userid": ["Unknown parameter; did you mean userId?"]}


def test_a_listing_does_not_move_while_it_is_read(auditor, make_log):
    logs = [make_log(created_at=NOW + timedelta(seconds=n)) for n in range(5)]
    first = auditor.get("/audit/logs?limit=2&resource=/bot/start").json()
    make_log(created_at=NOW + timedelta(hours=1))

    second = auditor.get(
        f"/audit/logs?limit=2&page=2&resource=/bot/start&asOf={first['asOf']}"
    ).json()

    assert [log["id"] for log in first["logs"] + second["logs"]] == [log.id for log in logs[:0:-1]]
    assert (second["total"], second["pages"], second["page"]) == (5, 3, 2)


def test_a_page_past_the_end_is_empty(auditor, make_log):
    make_log()

    answer = auditor.get("/audit/logs?page=7").json()

    assert (answer["logs"], answer["total"], answer["pages"]) == ([], 1, 1)


def test_one_entry_is_found_by_its_id(auditor, make_log):
    log = make_log()

    answer = auditor.get(f"/audit/logs/{log.id}")

    assert answer.json() == auditor.get("/audit/logs?source=trading-api").json()["logs"][0]


@pytest.mark.parametrize(
    "path", ["/audit/logs/0", "/audit/logs/99999999999999999999", "/audit/logs/x"]
)
def test_an_entry_that_is_not_there_is_a_404_in_the_error_shape(auditor, path):
    answer = auditor.get(path)

    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "not_found"


def test_reading_the_log_is_recorded_with_count_and_hash(auditor, make_log):
    make_log()

    auditor.get("/audit/logs?source=trading-api")

    read = AuditLog.objects.get(resource="/audit/logs")
    assert (read.action, read.actor, read.status_code) == ("READ", "auditor-user", 200)
    assert read.query == "source=trading-api"
    assert '"rows":1,"sha256":"' in read.details


def test_the_reports_of_the_document_return_the_right_rows(auditor, make_log):
    login = make_log(action="LOGIN", resource="/login")
    change = make_log(action="UPDATE", resource="/user/preferences")
    make_log(action="UPDATE", resource="/user/preferences/avatar")

    access = auditor.get("/audit/logs?action=LOGIN&format=csv")
    changes = auditor.get("/audit/logs?action=UPDATE&resource=/user/preferences")

    lines = access.getvalue().decode().split("\r\n")
    assert [line.split(",")[0] for line in lines] == ["id", str(login.id), ""]
    assert ids(changes) == [change.id]

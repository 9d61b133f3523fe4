import csv
import hashlib
import io
import json
from datetime import timedelta

import pytest

from audit.models import AuditLog
from tests.conftest import NOW

pytestmark = pytest.mark.django_db


def rows_of(answer):
    assert answer.status_code == 200
    return list(csv.DictReader(io.StringIO(answer.getvalue().decode(), newline="")))


def test_csv_is_the_default_and_holds_exactly_what_matches(auditor, make_log):
    wanted = [make_log(created_at=NOW + timedelta(seconds=n)) for n in range(3)]
    make_log(user_id=2)
    make_log(created_at=NOW - timedelta(days=40))

    answer = auditor.get("/audit/export?startDate=2025-11-01T00:00:00Z&userId=1")

    rows = rows_of(answer)
    assert [int(row["id"]) for row in rows] == [log.id for log in reversed(wanted)]
    assert rows[0]["requestData"] == '{"strategy":"RSI_CROSS"}'
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert ".csv" in answer.headers["Content-Disposition"]


def test_json_holds_the_entries_as_the_api_shows_them(auditor, make_log):
    make_log(request_data='{"note":"ünï → ☃"}')
    make_log(status_code=None, ip_address=None, user_id=None)

    exported = json.loads(auditor.get("/audit/export?format=json&source=trading-api").getvalue())

    assert exported == auditor.get("/audit/logs?source=trading-api").json()["logs"]


@pytest.mark.parametrize(("file_format", "empty"), [("csv", 1), ("json", 1)])
def test_an_empty_export_is_a_valid_file(auditor, file_format, empty):
    body = auditor.get(f"/audit/export?format={file_format}&userId=77").getvalue()

    assert len(body.splitlines()) == empty
    assert file_format == "csv" or json.loads(body) == []


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@cmd", "\tx", "\rx", "\nx", "'=1", "'"])
def test_no_cell_runs_in_a_spreadsheet_and_every_text_can_be_restored(auditor, make_log, text):
    make_log(user_agent=text)

    cell = rows_of(auditor.get("/audit/export?source=trading-api"))[0]["userAgent"]

    assert cell == f"'{text}"


def test_an_export_is_recorded_with_rows_and_hash(auditor, make_log):
    make_log()

    answer = auditor.get("/audit/export?format=csv&source=trading-api")
    body = answer.getvalue()

    event = AuditLog.objects.get(action="EXPORT")
    request = AuditLog.objects.get(action="READ", resource="/audit/export")
    assert (event.actor, event.request_id) == ("auditor-user", request.request_id)
    assert json.loads(event.details) == {
        "format": "csv",
        "query": {"format": ["csv"], "source": ["trading-api"]},
        "asOf": event.id - 1,
        "rows": 1,
        "sha256": hashlib.sha256(body).hexdigest(),
        "completed": True,
    }


def test_a_listing_as_csv_is_whole_unless_a_page_is_asked_for(auditor, make_log):
    for _ in range(60):
        make_log()

    whole = auditor.get("/audit/logs?format=csv&source=trading-api")
    page = auditor.get("/audit/logs?format=csv&source=trading-api&limit=10&page=6")

    assert (len(rows_of(whole)), len(rows_of(page))) == (60, 10)


def test_an_export_does_not_hold_entries_recorded_after_its_start(auditor, make_log):
    make_log()
    answer = auditor.get("/audit/export")
    make_log()

    assert len(rows_of(answer)) == 1


@pytest.mark.parametrize("query", ["format=xlsx", "page=1", "startDate=x"])
def test_a_bad_export_query_is_refused(auditor, query):
    answer = auditor.get(f"/audit/export?{query}")

    assert answer.status_code == 400
    assert list(answer.json()["error"]["fields"]) == [query.partition("=")[0]]

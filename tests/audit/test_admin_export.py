import csv
import io
import json
from datetime import timedelta

import pytest

from audit.models import AuditLog
from compliance_site.foundation.roles import Role
from tests.conftest import NOW

pytestmark = pytest.mark.django_db

LIST = "/admin/audit/auditlog/"
EXPORT = f"{LIST}export/"


@pytest.fixture
def reader(client_as):
    return client_as(Role.AUDITOR)


def last_event(action):
    return AuditLog.objects.filter(action=action).latest("id")


@pytest.mark.parametrize("file_format", ["csv", "json"])
def test_exporting_what_is_seen_holds_exactly_those_entries(reader, make_log, file_format):
    wanted = [make_log(created_at=NOW + timedelta(seconds=n)) for n in range(3)]
    make_log(user_id=2)
    page = reader.get(f"{LIST}?userId=1&source=trading-api")
    make_log(created_at=NOW + timedelta(hours=1))

    answer = reader.get(f"{EXPORT}?format={file_format}&{page.context['export_query']}")

    assert exported_ids(answer, file_format) == [log.id for log in reversed(wanted)]
    assert f'.{file_format}"' in answer.headers["Content-Disposition"]


def exported_ids(answer, file_format):
    text = answer.getvalue().decode()
    rows = (
        json.loads(text) if file_format == "json" else csv.DictReader(io.StringIO(text, newline=""))
    )
    return [int(row["id"]) for row in rows]


def test_an_export_is_recorded_with_the_filter_it_was_asked_with(reader, make_log):
    make_log()

    reader.get(f"{EXPORT}?format=json&userId=1&source=trading-api").getvalue()

    event = last_event("EXPORT")
    details = json.loads(event.details)
    assert (event.resource, event.actor) == (EXPORT, "auditor-person")
    assert (details["rows"], details["completed"]) == (1, True)
    assert details["query"] == {"userId": ["1"], "source": ["trading-api"]}


def test_an_export_that_is_not_understood_goes_back_to_the_list(reader):
    answer = reader.get(f"{EXPORT}?format=csv&statusCode=9xx")

    assert (answer.status_code, answer.url) == (302, f"{LIST}?statusCode=9xx")


@pytest.mark.parametrize("file_format", ["csv", "json"])
def test_selected_entries_are_exported_and_no_others(reader, make_log, file_format):
    logs = [make_log(created_at=NOW + timedelta(seconds=n)) for n in range(3)]
    selected = [logs[0].id, logs[2].id]

    answer = reader.post(
        LIST, {"action": f"export_{file_format}", "_selected_action": selected, "index": 0}
    )

    assert exported_ids(answer, file_format) == selected[::-1]
    assert json.loads(last_event("EXPORT").details)["rows"] == 2


def test_a_selection_that_is_no_id_is_refused_kindly(reader, make_log):
    make_log()

    selected = {"action": "export_csv", "_selected_action": "x", "index": 0}
    answer = reader.post(LIST, selected, follow=True)

    assert "An entry that was selected does not exist." in answer.content.decode()

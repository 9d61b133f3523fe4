import json
from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import escape

from audit.admin import listing
from audit.models import AuditLog
from compliance_site.foundation.roles import Role
from tests.conftest import NOW

pytestmark = pytest.mark.django_db

LIST = "/admin/audit/auditlog/"
EXPORT = f"{LIST}export/"


@pytest.fixture
def reader(client_as):
    return client_as(Role.AUDITOR)


def listed(answer):
    assert answer.status_code == 200
    return [log.id for log in answer.context["cl"].result_list]


def text_of(answer):
    return answer.content.decode()


def test_a_visitor_is_sent_to_the_sign_in_page(client, make_log):
    log = make_log()

    for path in (LIST, EXPORT, f"{LIST}{log.id}/change/"):
        answer = client.get(path)
        assert (answer.status_code, answer.url) == (302, f"/admin/login/?next={path}")


@pytest.mark.parametrize("role", [Role.OPERATOR])
def test_an_operator_has_no_audit_log(client_as, make_log, role):
    log = make_log()
    browser = client_as(role)

    for path in (LIST, EXPORT, f"{LIST}{log.id}/change/"):
        assert browser.get(path).status_code == 403
    assert browser.post(LIST, {"action": "export_csv", "index": 0}).status_code == 403
    assert LIST not in text_of(browser.get("/admin/"))


@pytest.mark.parametrize("role", [Role.AUDITOR, Role.SECURITY_OFFICER, "admin"])
def test_readers_of_the_log_see_it(client_as, make_log, role):
    log = make_log()

    assert log.id in listed(client_as(role).get(LIST))


@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.parametrize("page", ["add", "change", "delete"])
@pytest.mark.parametrize("role", ["admin", Role.AUDITOR])
def test_nobody_can_add_change_or_delete_an_entry(client_as, make_log, role, page, method):
    log = make_log()
    path = reverse(f"admin:audit_auditlog_{page}", args=[log.id] if page != "add" else [])

    answer = getattr(client_as(role), method)(path, {"post": "yes", "action": "READ"})

    assert answer.status_code == (200 if (page, method) == ("change", "get") else 403)
    assert AuditLog.objects.get(pk=log.pk).action == "CREATE"


def test_the_delete_action_is_not_offered(client_as, make_log):
    log = make_log()
    browser = client_as("admin")

    selected = {"action": "delete_selected", "_selected_action": log.id, "index": 0}
    answer = browser.post(LIST, selected, follow=True)

    assert "No action selected" in text_of(answer)
    assert AuditLog.objects.filter(pk=log.pk).exists()


@pytest.mark.parametrize(
    "query",
    [
        "userId=2",
        "userId=2&userId=3",
        "action=READ",
        "action=CREATE&action=READ",
        "method=get",
        "statusCode=4xx",
        "statusCode=200",
        "resource=/bot/start",
        "resource=/user/*",
        "ip=10.0.0.7",
        "requestId=abcdefgh",
        "actorType=service",
        "source=billing",
        "q=PREFER",
        "startDate=2025-11-09",
        "endDate=2025-11-08",
        "startDate=2025-11-08&endDate=2025-11-08T23:00:00Z",
        "userId=2&action=READ&statusCode=404",
    ],
)
def test_the_list_finds_what_the_api_finds(reader, make_log, query):
    make_log()
    make_log(user_id=2, action="READ", method="GET", status_code=404, source="billing")
    make_log(user_id=3, ip_address="10.0.0.7", request_id="abcdefgh")
    make_log(actor_type="service", user_id=None, resource="/user/preferences")
    make_log(created_at=NOW - timedelta(days=1))
    # Requests of this test itself are recorded as well; they are younger than all of these.
    bound = f"{query}&asOf={AuditLog.objects.all().newest_id()}"

    api = reader.get(f"/audit/logs?{bound}").json()["logs"]

    assert api
    assert listed(reader.get(f"{LIST}?{bound}")) == [log["id"] for log in api]


@pytest.mark.parametrize(
    ("query", "label", "pill"),
    [
        ("userId=abc", "User id", "Who"),
        ("action=BOGUS", "Action", "Action"),
        ("statusCode=9xx", "Status", "Status"),
        ("method=1", "Method", "Method"),
        ("ip=localhost", "Address", "From"),
        ("actorType=robot", "Kind of actor", "Who"),
        ("startDate=yesterday", "From", "Time"),
        ("startDate=2025-12-02&endDate=2025-12-01", "From", "Time"),
        ("period=fortnight", "Period", "Time"),
        ("period=24h&startDate=2025-12-02", "Period", "Time"),
        ("resource=%00", "Resource", "Resource"),
        ("q=%00", "Search", None),
        ("page=0", "page", None),
        ("page=9999", "page", None),
        ("asOf=x", "asOf", None),
        ("count=some", "count", None),
        ("colour=red", "colour", None),
        ("o=1", "o", None),
    ],
)
def test_a_value_that_is_not_understood_shows_its_error_and_lists_nothing(
    reader, make_log, query, label, pill
):
    make_log()

    answer = reader.get(f"{LIST}?{query}")

    assert listed(answer) == []
    assert [name for name, _ in answer.context["errors"]] == [label]
    assert [each.label for each in answer.context["pills"] if each.errors] == (
        [pill] if pill else []
    )
    assert f"<b>{label}</b>: " in text_of(answer)


@pytest.mark.parametrize(
    ("period", "age", "found"),
    [
        ("1h", timedelta(minutes=59), True),
        ("1h", timedelta(minutes=61), False),
        ("24h", timedelta(hours=23), True),
        ("24h", timedelta(hours=25), False),
        ("7d", timedelta(days=6), True),
        ("30d", timedelta(days=31), False),
    ],
)
def test_a_period_counts_back_from_now(reader, make_log, period, age, found):
    log = make_log(created_at=timezone.now() - age)

    assert (log.id in listed(reader.get(f"{LIST}?period={period}"))) is found


def test_the_active_filters_are_said_in_words_and_each_can_be_removed(reader, make_log):
    make_log()

    answer = reader.get(f"{LIST}?action=CREATE&action=READ&source=trading-api&q=bot&page=1")

    assert answer.context["filter_words"] == (
        "action CREATE or READ, source trading-api, resource contains “bot”"
    )
    action = next(pill for pill in answer.context["pills"] if pill.label == "Action")
    assert (action.words, action.removal) == ("CREATE or READ", "?source=trading-api&q=bot")


def test_the_count_is_capped_until_the_exact_one_is_asked_for(reader, make_log, monkeypatch):
    monkeypatch.setattr(listing, "LARGEST_COUNT", 3)
    monkeypatch.setattr(listing, "PAGE_SIZE", 2)
    for _ in range(5):
        make_log()

    capped = reader.get(f"{LIST}?source=trading-api")
    exact = reader.get(f"{LIST}{capped.context['count_query']}")

    assert (capped.context["listing"].count, capped.context["listing"].is_capped) == (4, True)
    assert (exact.context["listing"].count, exact.context["listing"].is_capped) == (5, False)


def test_a_listing_does_not_move_while_it_is_read(reader, make_log, monkeypatch):
    monkeypatch.setattr(listing, "PAGE_SIZE", 2)
    logs = [make_log(created_at=NOW + timedelta(seconds=n)) for n in range(5)]
    first = reader.get(f"{LIST}?source=trading-api")
    make_log(created_at=NOW + timedelta(hours=1))

    second = reader.get(f"{LIST}{first.context['older_query']}")

    assert listed(first) + listed(second) == [log.id for log in logs[:0:-1]]
    assert 'rel="prev"' in text_of(second)


def test_the_list_costs_few_queries_however_many_entries_it_shows(
    reader, make_log, django_assert_max_num_queries
):
    for _ in range(40):
        make_log()

    # Session, user, roles, newest id, entries, count, actions, permissions, the request's own entry.
    with django_assert_max_num_queries(11):
        assert len(listed(reader.get(f"{LIST}?source=trading-api"))) == 40


def test_reading_the_list_is_recorded_with_count_and_hash(reader, make_log):
    make_log()
    api = reader.get("/audit/logs?source=trading-api")
    noted_by_api = json.loads(AuditLog.objects.get(resource="/audit/logs").details)

    reader.get(f"{LIST}?source=trading-api")

    assert len(api.json()["logs"]) == 1
    assert json.loads(AuditLog.objects.get(resource=LIST).details) == noted_by_api


def test_what_entries_say_is_text_and_never_markup(reader, make_log):
    hostile = '"><script>alert(1)</script>'
    fields = ("resource", "actor", "user_agent", "request_data", "details", "query", "request_id")
    log = make_log(**dict.fromkeys(fields, hostile))

    for path in (LIST, f"{LIST}?resource={hostile}", f"{LIST}{log.id}/change/"):
        page = text_of(reader.get(path))
        assert "<script>alert" not in page
        assert escape(hostile) in page

from datetime import timedelta

import pytest

from audit.admin.json_text import indented, marked
from compliance_site.foundation.roles import Role
from tests.conftest import NOW

pytestmark = pytest.mark.django_db


@pytest.fixture
def reader(client_as):
    return client_as(Role.AUDITOR)


def page_of(reader, log):
    answer = reader.get(f"/admin/audit/auditlog/{log.id}/change/")
    assert answer.status_code == 200
    return answer


def test_an_entry_shows_its_facts(reader, make_log):
    log = make_log(
        route="/bot/<str:verb>", query="dry=1", duration_ms=18, event_id="evt-1", occurred_at=NOW
    )

    text = page_of(reader, log).content.decode()

    for fact in (
        "2025-11-09T10:30:00.000000Z",
        "1 · a.meyer",
        "POST /bot/start?dry=1",
        "/bot/&lt;str:verb&gt;",
        "in 18 ms",
        "192.168.1.100",
        "Mozilla/5.0",
        "evt-1",
        "&quot;strategy&quot;: &quot;RSI_CROSS&quot;",
    ):
        assert fact in text


def test_an_entry_leads_to_its_request_and_to_what_the_user_did_before(reader, make_log):
    before = make_log(created_at=NOW - timedelta(hours=1))
    make_log(created_at=NOW - timedelta(hours=1), user_id=2)
    make_log(created_at=NOW + timedelta(hours=1))
    log = make_log(request_id="abcdefgh")
    event = make_log(request_id="abcdefgh", user_id=3)

    context = page_of(reader, log).context

    assert list(context["same_request"]) == [event]
    assert list(context["earlier_by_user"]) == [before]


def test_an_entry_without_request_or_user_has_no_relatives(reader, make_log):
    make_log(user_id=None)
    log = make_log(user_id=None)

    context = page_of(reader, log).context

    assert (context["same_request"], context["earlier_by_user"]) == ([], [])


@pytest.mark.parametrize("asked", ["0", "99999999", "99999999999999999999", "x", "1/history"])
def test_an_entry_that_is_not_there_is_a_kind_404(reader, asked):
    answer = reader.get(f"/admin/audit/auditlog/{asked}/change/")

    assert answer.status_code == 404
    assert f"There is no entry {asked}" in answer.content.decode()


def test_json_is_laid_out_without_changing_a_number_or_dropping_a_key():
    text = (
        '{"price":1.10,"price":1e400,"id":12345678901234567890123,"note":"a: {b}, \\"c\\"","no":[]}'
    )

    assert indented(text) == (
        "{\n"
        '  "price": 1.10,\n'
        '  "price": 1e400,\n'
        '  "id": 12345678901234567890123,\n'
        '  "note": "a: {b}, \\"c\\"",\n'
        '  "no": []\n'
        "}"
    )


@pytest.mark.parametrize("text", ["", "no json", '{"cut":', "[" * 100_000])
def test_what_is_not_json_is_shown_as_it_is(text):
    assert indented(text) == text


@pytest.mark.parametrize("left", ["hmac-sha256:12:0123456789abcdef", "[REDACTED]", "[TOO DEEP]"])
def test_what_was_taken_out_is_marked_and_everything_else_escaped(left):
    shown = marked(f'{{"apiKey": "{left}", "note": "<b>"}}')

    assert f'<mark title="Taken out before it was recorded">{left}</mark>' in shown
    assert "<b>" not in shown

from datetime import UTC, date, datetime, timedelta

import pytest
import time_machine
from django.utils import timezone

from secrets_rotation.admin.calendar import Kind
from secrets_rotation.forecast import forecast
from secrets_rotation.models import Policy
from tests.secrets_rotation.admin.conftest import text_of, title_of

pytestmark = pytest.mark.django_db

CALENDAR = "/admin/secrets_rotation/secret/calendar/"
BORN = datetime(2026, 1, 31, 9, tzinfo=UTC)


@pytest.fixture
def born(make_secret):
    """A secret as it was made on 31 January 2026."""

    def make(name="monthly", interval=1, unit="months", **rules):
        own = {"interval": interval, "interval_unit": unit, "grace": timedelta(0)}
        return make_secret(name, created_at=BORN, anchored_on=BORN.date(), rules=own | rules)

    return make


def days(answer):
    return {
        day.day: [(item.secret.name, item.kind) for item in day.items]
        for week in answer.context["weeks"]
        for day in week
        if day.items
    }


def test_the_forecast_goes_on_from_each_due_day_to_the_next(born):
    born()

    due = [planned.day for planned in forecast(date(2026, 1, 1), date(2026, 5, 31))]

    assert due == [date(2026, 2, 28), date(2026, 3, 31), date(2026, 4, 30), date(2026, 5, 31)]


def test_the_forecast_agrees_with_the_schedule_about_the_next(born, make_secret):
    secrets = [born(), born("weekly", 7, "days"), make_secret("as-its-type")]

    found = {each.secret: each.at for each in forecast(date.min, date(2027, 6, 1)) if each.is_next}

    due = type(secrets[0]).objects.with_due()
    assert found == {secret: secret.due_at for secret in due}


def test_a_retired_secret_is_not_foreseen(make_secret):
    make_secret(retired_at=timezone.now())

    assert forecast(date.min, date(2027, 6, 1)) == []


@time_machine.travel(datetime(2026, 2, 10, 12, tzinfo=UTC), tick=False)
def test_a_month_tells_automatic_from_manual_by_sign_and_word(reader, born):
    born()
    born("by-hand", 20, "days", auto_rotate=False)

    answer = reader.get(CALENDAR)

    assert days(answer) == {
        date(2026, 2, 20): [("by-hand", Kind.MANUAL)],
        date(2026, 2, 28): [("monthly", Kind.AUTOMATIC)],
    }
    page = text_of(answer)
    assert title_of(answer) == "February 2026: 2 to rotate"
    assert "✎" in page
    assert "by hand" in page
    assert "?month=2026-01" in page
    assert "?month=2026-03" in page


@time_machine.travel(datetime(2026, 4, 10, 12, tzinfo=UTC), tick=False)
def test_what_is_overdue_stands_in_a_row_of_its_own(reader, born):
    born()

    answer = reader.get(CALENDAR)

    assert title_of(answer) == "April 2026: 1 overdue, 1 to rotate"
    assert [row.secret.name for row, _ in answer.context["overdue"]] == ["monthly"]
    assert days(answer) == {date(2026, 4, 30): [("monthly", Kind.AUTOMATIC)]}
    assert reader.get(CALENDAR, {"month": "2026-03"}).context["overdue"] == []


def test_what_was_rotated_is_there_too(reader, rotated):
    rotated(times=1)

    answer = reader.get(CALENDAR)

    assert answer.context["done"] == 1
    assert days(answer)[timezone.now().date()] == [("postgres_password", Kind.ROTATED)]


@time_machine.travel(datetime(2026, 4, 10, 12, tzinfo=UTC), tick=False)
@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        ("2026-12", date(2026, 12, 1)),
        ("2025-12", date(2025, 12, 1)),
        ("2099-12", date(2028, 4, 1)),
        ("2026-13", date(2026, 4, 1)),
        ("soon", date(2026, 4, 1)),
        ("", date(2026, 4, 1)),
    ],
)
def test_a_month_is_asked_for_by_its_number(reader, asked, shown):
    assert reader.get(CALENDAR, {"month": asked}).context["first"] == shown


def test_the_calendar_is_a_table_with_heads(reader):
    page = text_of(reader.get(CALENDAR))

    assert page.count('<th scope="col">') == 7
    assert "<caption" in page
    assert 'aria-current="date"' in page


def test_a_daily_secret_two_years_ahead_is_no_trouble(reader, make_secret):
    Policy.objects.filter(pk="DATABASE").update(interval=1, grace=timedelta(0))
    make_secret()

    answer = reader.get(CALENDAR, {"month": "2099-01"})

    assert answer.context["planned"] >= 28

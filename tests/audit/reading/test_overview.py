from datetime import timedelta

import pytest

from audit.reading.overview import Endpoint, overview
from tests.conftest import NOW

pytestmark = pytest.mark.django_db


def test_an_empty_log_has_no_figures():
    figures = overview(NOW)

    assert (figures.newest, figures.entries_today, figures.failed_sign_ins) == (None, 0, 0)
    assert (figures.people_today, figures.people, figures.endpoints) == (0, (), ())
    assert len(figures.hours) == 24


def test_today_begins_at_midnight_and_the_other_figures_a_day_ago(make_log):
    midnight = NOW.replace(hour=0, minute=0)
    make_log(created_at=midnight)
    make_log(created_at=midnight - timedelta(seconds=1))
    make_log(created_at=NOW - timedelta(hours=23), action="LOGIN_FAILED")
    make_log(created_at=NOW - timedelta(hours=24), action="LOGIN_FAILED")

    figures = overview(NOW)

    assert (figures.entries_today, figures.failed_sign_ins) == (1, 1)
    assert sum(hour.entries for hour in figures.hours) == 3
    assert [hour.entries for hour in figures.hours if hour.entries] == [1, 2]


def test_requests_that_failed_are_counted_apart_from_the_server_s_own_failures(make_log):
    for status_code in (None, 200, 302, 400, 404, 503):
        make_log(status_code=status_code)

    figures = overview(NOW)

    assert (figures.failed_requests, figures.server_errors) == (3, 1)
    assert figures.hours[-1].failed_requests == 3


def test_what_comes_later_than_now_is_not_counted(make_log):
    make_log(created_at=NOW + timedelta(seconds=1))

    assert overview(NOW).newest is None


def test_people_of_two_sources_are_two_people(make_log):
    make_log()
    make_log(source="console", actor="admin")
    make_log(actor_type="service", user_id=5)
    make_log(created_at=NOW - timedelta(days=1), user_id=9)

    figures = overview(NOW)

    assert figures.people_today == 2
    assert {(person.source, person.name) for person in figures.people} == {
        ("trading-api", "a.meyer"),
        ("console", "admin"),
    }


def test_a_route_of_many_addresses_is_one_endpoint_without_an_address(make_log):
    make_log(resource="/orders/1", route="/orders/<int:id>", method="GET")
    make_log(resource="/orders/2", route="/orders/<int:id>", method="GET")
    make_log()
    make_log(resource="/bot/stop")
    make_log(action="ROTATE", method="", resource="DATABASE/postgres_password")

    assert overview(NOW).endpoints == (
        Endpoint("GET", "/orders/<int:id>", "", 2),
        Endpoint("POST", "/bot/start", "/bot/start", 1),
        Endpoint("POST", "/bot/stop", "/bot/stop", 1),
    )


@pytest.mark.parametrize(("age", "quiet"), [(59, False), (61, True)])
def test_a_log_without_an_entry_for_an_hour_is_quiet(make_log, age, quiet):
    make_log(created_at=NOW - timedelta(minutes=age))

    assert overview(NOW).is_quiet is quiet

import pytest
from django.db import connection

pytestmark = pytest.mark.django_db


def test_statistics_have_the_documented_shape(auditor, make_log):
    make_log()
    make_log(action="READ", method="GET", resource="/dashboard/pnl", user_id=2)
    make_log(action="READ", method="GET", resource="/dashboard/pnl", user_id=None)
    make_log(action="LOGIN", method="", resource="/login")

    assert auditor.get("/audit/stats?source=trading-api").json() == {
        "totalLogs": 4,
        "byAction": {"CREATE": 1, "LOGIN": 1, "READ": 2},
        "byUser": {"1": 2, "2": 1},
        "topEndpoints": [
            {"resource": "/dashboard/pnl", "count": 2},
            {"resource": "/bot/start", "count": 1},
        ],
    }


def test_endpoints_are_counted_by_route_where_it_is_known(auditor, make_log):
    for number in range(3):
        make_log(resource=f"/orders/{number}", route="/orders/{order_id}")

    answer = auditor.get("/audit/stats?source=trading-api").json()

    assert answer["topEndpoints"] == [{"resource": "/orders/{order_id}", "count": 3}]


def test_an_empty_log_has_statistics(auditor):
    answer = auditor.get("/audit/stats?userId=9").json()

    assert answer == {"totalLogs": 0, "byAction": {}, "byUser": {}, "topEndpoints": []}


def test_statistics_agree_with_sql(auditor, make_log):
    for number in range(40):
        make_log(action=["CREATE", "READ", "SETTLE"][number % 3], user_id=number % 4 + 1)
    with connection.cursor() as cursor:
        cursor.execute("SELECT action, count(*) FROM audit_log GROUP BY action")
        by_action = dict(cursor.fetchall())

    answer = auditor.get("/audit/stats").json()

    assert answer["byAction"] == by_action
    assert answer["totalLogs"] == 40


def test_an_unknown_parameter_is_refused(auditor):
    assert list(auditor.get("/audit/stats?page=1").json()["error"]["fields"]) == ["page"]

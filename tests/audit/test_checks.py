import pytest
from django.core.checks import run_checks
from django.db import connection, connections


@pytest.mark.django_db
def test_a_runtime_role_that_can_only_add_passes():
    assert run_checks(tags=["database"], databases=["default"]) == []


@pytest.mark.django_db
def test_without_a_database_nothing_is_asked():
    assert run_checks(tags=["database"], databases=None) == []


def test_an_owner_as_runtime_role_is_reported(committed_db):
    own, owner = connection.settings_dict, connections["owner"].settings_dict
    before = {name: own[name] for name in ("USER", "PASSWORD")}
    connection.close()
    own |= {name: owner[name] for name in before}
    try:
        reports = run_checks(tags=["database"], databases=["default"])
    finally:
        connection.close()
        own |= before

    assert [report.id for report in reports] == ["audit.E001"] * 3
    assert "provision_database" in reports[0].hint


def test_a_right_too_many_is_reported(committed_db):
    with connections["owner"].cursor() as cursor:
        cursor.execute("GRANT DELETE ON audit_log TO compliance")

    (report,) = run_checks(tags=["database"], databases=["default"])

    assert "audit_log" in report.msg

from datetime import UTC, datetime

import pytest
from django.db import connection

from audit.ledger import partitions
from audit.models import AuditLog

pytestmark = pytest.mark.django_db
FAR = datetime(2093, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)


def names():
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'audit_log'::regclass"
        )
        return {name for (name,) in cursor.fetchall()}


def test_months_ahead_are_made_once():
    made = partitions.make_ahead(FAR, months=2)
    again = partitions.make_ahead(FAR, months=2)

    assert (made, again) == (3, 0)
    assert {"audit_log_2093_12", "audit_log_2094_01", "audit_log_2094_02"} <= names()


def test_an_entry_of_a_month_without_partition_gets_one(make_log):
    log = make_log(created_at=FAR)

    assert AuditLog.objects.get(created_at=FAR) == log
    assert "audit_log_2093_12" in names()


def test_a_partition_made_in_a_rolled_back_transaction_is_not_remembered(make_log):
    from django.db import transaction

    with transaction.atomic():
        partitions.ensure([FAR])
        transaction.set_rollback(True)

    assert make_log(created_at=FAR).pk


def test_months_are_months_of_utc(make_log):
    from datetime import timedelta, timezone

    east = FAR.replace(hour=5).astimezone(timezone(timedelta(hours=14)))

    make_log(created_at=east)

    assert "audit_log_2093_12" in names()

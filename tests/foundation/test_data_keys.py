from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from django.db import connection, transaction

from compliance_site.foundation.data_keys import DataKey, data_key
from compliance_site.foundation.envelope import TamperedError


@pytest.mark.django_db
def test_a_name_has_one_key_and_each_another():
    first = data_key("fingerprints")

    assert len(first) == 32
    assert data_key("fingerprints") == first
    assert data_key("ledger") != first
    assert DataKey.objects.count() == 2


@pytest.mark.django_db
def test_a_key_that_was_rolled_back_is_not_remembered():
    with transaction.atomic():
        gone = data_key("fingerprints")
        transaction.set_rollback(True)

    assert data_key("fingerprints") != gone


@pytest.mark.django_db
def test_a_key_does_not_go_by_another_name():
    data_key("fingerprints")
    DataKey.objects.update(name="ledger")

    with pytest.raises(TamperedError):
        data_key("ledger")


def test_many_at_once_get_the_same_key(committed_db):
    barrier = Barrier(8)

    def ask(_):
        try:
            barrier.wait(30)
            return data_key("fingerprints")
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as threads:
        keys = set(threads.map(ask, range(8)))

    assert len(keys) == 1
    assert DataKey.objects.count() == 1

from datetime import timedelta

import pytest

from recovery.exceptions import StoreError
from recovery.stores import s3
from recovery.stores.s3 import S3Store
from tests.recovery.stores.bucket import client
from tests.recovery.stores.test_stores import content, put

SMALLEST_PART = 5 << 20


@pytest.fixture
def store(bucket):
    return S3Store.of(f"s3://{bucket}", 1)


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(s3, "PART_BYTES", SMALLEST_PART)


def uploads(store):
    found = client(store.client.meta.endpoint_url).list_multipart_uploads(Bucket=store.bucket)
    return found.get("Uploads", [])


def test_a_big_file_goes_in_parts(store, small_parts):
    big = bytes(range(256)) * (SMALLEST_PART // 100)

    put(store, "orders/a.tar.age", big)

    assert content(store, "orders/a.tar.age") == big
    assert uploads(store) == []


def test_a_big_file_is_never_written_over(store, small_parts):
    put(store, "orders/a.tar.age", b"first")

    with pytest.raises(StoreError, match="is there already"):
        put(store, "orders/a.tar.age", bytes(2 * SMALLEST_PART))
    assert content(store, "orders/a.tar.age") == b"first"


def test_an_interrupted_upload_is_taken_back(store, small_parts):
    with store.create("orders/a.tar.age") as sink:
        sink.write(bytes(SMALLEST_PART))
        assert len(uploads(store)) == 1

    assert uploads(store) == []
    assert list(store.names("orders")) == []


def test_uploads_that_were_never_finished_are_removed_in_time(store, monkeypatch):
    # The server of the tests dates them all in 2010.
    store.client.create_multipart_upload(Bucket=store.bucket, Key="orders/a.tar.age")
    monkeypatch.setattr(s3, "ABANDONED_AFTER", timedelta(days=365 * 100))
    store.sweep("orders")
    assert len(uploads(store)) == 1

    monkeypatch.setattr(s3, "ABANDONED_AFTER", timedelta(days=1))
    store.sweep("other")
    assert len(uploads(store)) == 1
    store.sweep("orders")
    assert uploads(store) == []


def test_names_of_others_in_the_bucket_are_not_ours(store):
    for key in ("orders/a.json", "orders/deeper/b.json", "orders/.hidden", "orders-2/c.json"):
        store.client.put_object(Bucket=store.bucket, Key=key, Body=b"x")

    assert list(store.names("orders")) == ["orders/a.json"]


def test_what_the_bucket_refuses_is_told_plainly(bucket):
    missing = S3Store.of("s3://no-such-bucket", 1)

    with pytest.raises(StoreError, match="s3://no-such-bucket: the bucket does not exist"):
        put(missing, "orders/a.json", b"content")


def test_a_bucket_that_cannot_be_reached_is_told_without_credentials(bucket, settings):
    settings.BACKUP_S3_ENDPOINT_URL = "http://127.0.0.1:9"
    store = S3Store.of(f"s3://{bucket}", 1)

    with pytest.raises(StoreError, match="no answer") as away:
        list(store.names("orders"))
    assert "test-secret" not in str(away.value)
    assert "127.0.0.1" not in str(away.value)


def test_missing_credentials_are_told_with_the_variables(bucket, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")

    with pytest.raises(StoreError, match="set AWS_ACCESS_KEY_ID"):
        list(S3Store.of(f"s3://{bucket}", 1).names("orders"))


def test_an_endpoint_that_is_no_url_is_named(bucket, settings):
    settings.BACKUP_S3_ENDPOINT_URL = "not a url"

    with pytest.raises(StoreError, match="BACKUP_S3_ENDPOINT_URL must read"):
        list(S3Store.of(f"s3://{bucket}", 1).names("orders"))

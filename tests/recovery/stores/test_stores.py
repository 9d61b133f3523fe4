"""What every store does, a folder and a bucket alike."""

import pytest

from recovery.exceptions import ConfigurationError, StoreError
from recovery.stores import named, stores
from recovery.stores.local import LocalStore
from recovery.stores.s3 import S3Store


@pytest.fixture(params=["local", "s3"])
def store(request):
    if request.param == "local":
        return request.getfixturevalue("local")
    return S3Store.of(f"s3://{request.getfixturevalue('bucket')}/some/prefix", 1)


def put(store, name, content, **options):
    with store.create(name, **options) as sink:
        sink.write(content)
        sink.commit()


def content(store, name):
    with store.open(name) as stream:
        return stream.read()


def test_a_file_comes_back_as_it_went(store):
    put(store, "orders/a.json", b"content")

    assert content(store, "orders/a.json") == b"content"
    assert store.size("orders/a.json") == 7
    assert list(store.names("orders")) == ["orders/a.json"]
    assert list(store.names("other")) == []


def test_a_file_that_was_not_committed_is_not_there(store):
    put(store, "orders/a.json", b"content")

    with store.create("orders/b.json") as sink:
        sink.write(b"half")

    assert list(store.names("orders")) == ["orders/a.json"]


def test_a_file_is_never_written_over(store):
    put(store, "orders/a.json", b"first")

    with pytest.raises(StoreError, match=r"is there already|File exists"):
        put(store, "orders/a.json", b"second")
    assert content(store, "orders/a.json") == b"first"


def test_a_fact_takes_the_place_of_an_older_one(store):
    put(store, "orders/a.json", b"first")

    put(store, "orders/a.json", b"second", replace=True)

    assert content(store, "orders/a.json") == b"second"


def test_deleting_is_done_once_and_can_be_repeated(store):
    put(store, "orders/a.json", b"content")

    store.delete("orders/a.json")
    store.delete("orders/a.json")

    assert list(store.names("orders")) == []
    with pytest.raises(StoreError, match=r"not there|No such file"):
        content(store, "orders/a.json")


@pytest.mark.parametrize(
    "name",
    [
        "../a.json",
        "orders/../a.json",
        "orders/b/c.json",
        "/etc/passwd",
        "orders/.hidden",
        "a.json",
        "",
        "orders/a\nb",
        "Orders/a.json",
        "orders/" + "a" * 200,
    ],
)
def test_a_name_that_could_lead_elsewhere_is_refused(store, name):
    for act in (store.size, store.delete, lambda name: content(store, name)):
        with pytest.raises(StoreError, match="no name of a file of a backup"):
            act(name)
    with pytest.raises(StoreError, match="no name of a file of a backup"):
        put(store, name, b"content")


def test_the_setting_names_folders_and_buckets(settings, tmp_path):
    settings.BACKUP_STORAGE_PATH = [str(tmp_path), "s3://backups/of/orders/", "s3://other"]

    names = [store.name for store in stores()]

    assert names == [str(tmp_path), "s3://backups/of/orders", "s3://other"]
    assert isinstance(named(str(tmp_path)), LocalStore)
    with pytest.raises(StoreError, match="is not in BACKUP_STORAGE_PATH"):
        named("/elsewhere")


@pytest.mark.parametrize(
    ("entries", "complaint"),
    [
        ([], "is empty"),
        (["backups"], "entry 1 must be an absolute folder"),
        (["/ok", "/b/../c"], "entry 2 must be an absolute folder"),
        (["/ok", "s3://key:geheim@bucket/x"], "entry 2 must read s3://bucket/prefix"),
        (["s3://bucket/../x"], "entry 1 must read s3://bucket/prefix"),
        (["s3://"], "entry 1 must read s3://bucket/prefix"),
        (["/ok", "/ok/"], "names a place twice"),
    ],
)
def test_an_entry_that_cannot_be_is_named_by_its_place(settings, entries, complaint):
    settings.BACKUP_STORAGE_PATH = entries

    with pytest.raises(ConfigurationError, match=f"BACKUP_STORAGE_PATH.*{complaint}") as refusal:
        stores()
    assert "geheim" not in str(refusal.value)

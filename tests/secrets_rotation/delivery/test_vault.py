import hvac
import pytest

from secrets_rotation.delivery.destinations.vault import VaultKv2
from secrets_rotation.exceptions import DeliveryError
from tests.secrets_rotation.delivery.conftest import VALUE, destination, serving
from tests.secrets_rotation.delivery.kv_store import TOKEN, KvStore

MARK = "DATABASE abtpro_db version {}"


@pytest.fixture
def store():
    return KvStore()


@pytest.fixture
def url(store):
    with serving(store) as url:
        yield url


@pytest.fixture
def kv(url):
    """The store as another program sees it."""
    client = hvac.Client(url=url, token=TOKEN)
    yield client.secrets.kv.v2
    client.adapter.close()


@pytest.fixture
def vault(url):
    return destination("vault_kv2", url=url, path="app/db", usernameKey="username", token=TOKEN)


def held(kv):
    return kv.read_secret_version("app/db", raise_on_deleted_version=False)["data"]


def test_value_and_username_arrive_beside_what_is_there(kv, vault, make_parcel):
    kv.create_or_update_secret("app/db", {"host": "db.internal", "value": "old"})

    vault.deliver(make_parcel(3))

    assert held(kv)["data"] == {
        "host": "db.internal",
        "username": "app_3",
        "value": VALUE.format(3),
        "value_version": MARK.format(3),
    }


def test_a_path_that_never_held_anything_is_filled(kv, vault, make_parcel):
    vault.deliver(make_parcel(1))

    assert held(kv)["data"]["value"] == VALUE.format(1)


def test_a_path_whose_newest_version_is_deleted_is_filled(kv, vault, make_parcel):
    vault.deliver(make_parcel(1))
    kv.delete_latest_version_of_secret("app/db")

    vault.deliver(make_parcel(2))

    assert held(kv)["data"]["value"] == VALUE.format(2)


def test_a_path_whose_newest_version_is_destroyed_is_filled(kv, vault, make_parcel):
    vault.deliver(make_parcel(1))
    kv.destroy_secret_versions("app/db", [1])

    vault.deliver(make_parcel(2))

    assert held(kv)["data"]["value"] == VALUE.format(2)


def test_the_same_version_again_makes_no_new_one_in_the_store(kv, vault, make_parcel):
    vault.deliver(make_parcel(1))

    vault.deliver(make_parcel(1))

    assert held(kv)["metadata"]["version"] == 1


def test_an_older_version_is_kept_out(kv, vault, make_parcel):
    vault.deliver(make_parcel(3))

    with pytest.raises(DeliveryError, match="Version 3 is there already"):
        vault.deliver(make_parcel(2))

    assert held(kv)["data"]["value"] == VALUE.format(3)


def test_an_approle_signs_in(kv, url, make_parcel):
    by_role = {"roleId": "role", "roleSecretId": "role-secret"}
    destination("vault_kv2", url=url, path="app/db", **by_role).deliver(make_parcel(1))

    assert held(kv)["data"]["value"] == VALUE.format(1)


@pytest.mark.parametrize("given", [{"token": "wrong"}, {"roleId": "role", "roleSecretId": "wrong"}])
def test_wrong_credentials_are_a_reason_without_them(url, make_parcel, given):
    with pytest.raises(DeliveryError, match=r"The store refused: (Forbidden|InvalidRequest)\.$"):
        destination("vault_kv2", url=url, path="app/db", **given).deliver(make_parcel(1))


def test_somebody_who_writes_at_the_same_moment_is_not_overwritten(store, kv, vault, make_parcel):
    def meanwhile():
        store.meanwhile = lambda: None
        store.versions["app/db"].append({"value": "by hand"})

    store.meanwhile = meanwhile

    with pytest.raises(DeliveryError, match="InvalidRequest"):
        vault.deliver(make_parcel(1))
    assert held(kv)["data"] == {"value": "by hand"}

    vault.deliver(make_parcel(1))
    assert held(kv)["data"]["value"] == VALUE.format(1)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ((307, {"Location": "http://127.0.0.1:1/v1/x"}, b""), "a redirect, which is not followed"),
        ((200, {}, b"<html>"), "no KV store"),
        ((200, {"Content-Type": "application/json"}, b'{"data": {"value": "v1"}}'), "no KV store"),
        ((503, {}, b"sealed"), "VaultDown"),
    ],
)
def test_other_answers_are_failures(make_parcel, answer, reason):
    with serving(lambda *request: answer) as url, pytest.raises(DeliveryError, match=reason):
        destination("vault_kv2", url=url, path="app/db", token=TOKEN).deliver(make_parcel(1))


def test_no_token_of_the_environment_is_sent_anywhere(url, store, make_parcel, monkeypatch):
    monkeypatch.setenv("VAULT_TOKEN", TOKEN)
    given = {"roleId": "role", "roleSecretId": "wrong"}

    with pytest.raises(DeliveryError):
        destination("vault_kv2", url=url, path="app/db", **given).deliver(make_parcel(1))

    assert store.requests == [("POST", "/v1/auth/approle/login")]


def test_a_server_in_a_private_network_needs_leave(url, settings, make_parcel, vault):
    settings.OUTGOING_ALLOWED_NETWORKS = []

    with pytest.raises(DeliveryError, match="OUTGOING_ALLOWED_NETWORKS"):
        vault.deliver(make_parcel(1))


def test_settings_that_cannot_work_are_named():
    given = {"url": "ftp://x", "token": None, "roleId": "role", "roleSecretId": None}
    given |= {"valueKey": "v", "usernameKey": "v"}

    assert VaultKv2.problems(given).keys() == {"url", "token", "usernameKey"}

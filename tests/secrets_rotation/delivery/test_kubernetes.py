import base64
import json

import pytest

from secrets_rotation.delivery.destinations.kubernetes import ANNOTATION, KubernetesSecret
from secrets_rotation.exceptions import DeliveryError
from tests.secrets_rotation.delivery.cluster import TOKEN, Cluster
from tests.secrets_rotation.delivery.conftest import VALUE, destination, serving

PATH = "trading/secrets/app-db"


@pytest.fixture
def cluster():
    return Cluster()


@pytest.fixture
def url(cluster):
    with serving(cluster) as url:
        yield url


@pytest.fixture
def secret(url):
    return destination("kubernetes_secret", **given(url))


def given(url, **overrides):
    defaults = {
        "namespace": "trading",
        "secretName": "app-db",
        "valueKey": "password",
        "usernameKey": "username",
        "previousKey": "password-before",
        "url": url,
        "token": TOKEN,
    }
    return defaults | overrides


def encoded(text):
    return base64.b64encode(text.encode()).decode()


def data(cluster):
    return {
        key: base64.b64decode(value).decode()
        for key, value in cluster.secrets[PATH]["data"].items()
    }


def put(cluster, **fields):
    cluster.put(PATH, {"metadata": {"name": "app-db", "labels": {"app": "trading"}}, **fields})


def test_keys_are_set_and_all_else_stays(cluster, secret, make_parcel):
    put(cluster, data={"host": encoded("db.internal"), "password": encoded("old")})

    secret.deliver(make_parcel(3, earlier=2))

    assert data(cluster) == {
        "host": "db.internal",
        "password": VALUE.format(3),
        "password-before": VALUE.format(2),
        "username": "app_3",
    }
    metadata = cluster.secrets[PATH]["metadata"]
    assert metadata["labels"] == {"app": "trading"}
    assert json.loads(metadata["annotations"][ANNOTATION]) == {
        "password": "DATABASE abtpro_db version 3"
    }


def test_the_version_before_goes_when_it_works_no_more(cluster, secret, make_parcel):
    secret.deliver(make_parcel(3, earlier=2))

    secret.deliver(make_parcel(3))

    assert "password-before" not in data(cluster)


def test_a_missing_secret_is_made(cluster, secret, make_parcel):
    secret.deliver(make_parcel(1))

    assert data(cluster) == {"password": VALUE.format(1), "username": "app_1"}


def test_the_same_version_again_changes_nothing(cluster, url, make_parcel):
    secret = destination("kubernetes_secret", **given(url, previousKey=""))
    secret.deliver(make_parcel(1))
    before = dict(cluster.secrets[PATH])

    secret.deliver(make_parcel(1))

    assert cluster.secrets[PATH] == before


def test_an_older_version_is_kept_out(cluster, secret, make_parcel):
    secret.deliver(make_parcel(3))

    with pytest.raises(DeliveryError, match="Version 3 is there already"):
        secret.deliver(make_parcel(2))

    assert data(cluster)["password"] == VALUE.format(3)


def test_two_secrets_share_one_each_with_its_own_versions(cluster, url, make_parcel):
    first = destination("kubernetes_secret", **given(url, usernameKey=""))
    second = destination("kubernetes_secret", **given(url, usernameKey="", valueKey="api-key"))
    first.deliver(make_parcel(5))
    second.deliver(make_parcel(1, secret_name="other"))

    with pytest.raises(DeliveryError, match="is older"):
        first.deliver(make_parcel(4))

    assert data(cluster) == {"password": VALUE.format(5), "api-key": VALUE.format(1)}


@pytest.mark.parametrize("exists", [True, False])
def test_somebody_who_writes_at_the_same_moment_is_not_overwritten(
    cluster, secret, make_parcel, exists
):
    def meanwhile():
        cluster.meanwhile = lambda: None
        put(cluster, data={"password": encoded("by hand")})

    if exists:
        put(cluster)
    cluster.meanwhile = meanwhile

    with pytest.raises(DeliveryError, match=r"The API server answered 409\.$"):
        secret.deliver(make_parcel(1))
    assert data(cluster) == {"password": "by hand"}

    secret.deliver(make_parcel(1))
    assert data(cluster)["password"] == VALUE.format(1)


def test_a_refusal_is_a_reason_without_what_was_sent(url, make_parcel):
    stranger = destination("kubernetes_secret", **given(url, token="wrong"))

    with pytest.raises(DeliveryError) as refusal:
        stranger.deliver(make_parcel(1))

    assert refusal.value.reason == "The API server answered 401."
    assert refusal.value.__cause__ is None


def test_an_answer_that_is_no_secret_is_a_failure(make_parcel):
    answer = (200, {"Content-Type": "application/json"}, b'{"data": 7}')
    with serving(lambda *request: answer) as url, pytest.raises(DeliveryError):
        destination("kubernetes_secret", **given(url)).deliver(make_parcel(1))


def test_outside_of_a_cluster_url_and_token_are_needed(make_parcel, monkeypatch):
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    inside = destination("kubernetes_secret", **given("", token=None))

    with pytest.raises(DeliveryError, match="not in a cluster"):
        inside.deliver(make_parcel(1))


def test_an_authority_that_is_no_certificate_is_named(make_parcel):
    secret = destination("kubernetes_secret", **given("https://127.0.0.1:1", caCertificate="no"))

    with pytest.raises(DeliveryError, match="PEM"):
        secret.deliver(make_parcel(1))


def test_settings_that_cannot_work_are_named():
    wrong = given("nowhere", token=None, usernameKey="password")

    assert KubernetesSecret.problems(wrong).keys() == {"url", "token", "valueKey"}

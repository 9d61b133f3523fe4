import json
from contextlib import contextmanager

import boto3
import pytest
from moto.server import ThreadedMotoServer

from secrets_rotation.delivery.destinations.aws import AwsSecretsManager
from secrets_rotation.exceptions import DeliveryError
from tests.secrets_rotation.delivery.conftest import VALUE, destination, serving

REGION = "eu-central-1"
KEYS = {"accessKeyId": "AKIAIOSFODNN7EXAMPLE", "secretAccessKey": "secret-access-key-of-the-test"}


@pytest.fixture(scope="module")
def url():
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@contextmanager
def client_of(url):
    """Secrets Manager as another program sees it."""
    client = boto3.client(
        "secretsmanager",
        region_name=REGION,
        endpoint_url=url,
        aws_access_key_id="a",
        aws_secret_access_key="b",
    )
    yield client
    client.close()


@pytest.fixture
def manager(url):
    with client_of(url) as client:
        client.create_secret(Name="app/db", SecretString='{"host": "db.internal"}')
        yield client
        client.delete_secret(SecretId="app/db", ForceDeleteWithoutRecovery=True)


@pytest.fixture
def plain(url):
    return destination(
        "aws_secrets_manager", region=REGION, secretId="app/db", endpointUrl=url, **KEYS
    )


def stages(manager):
    """The labels, by the value that has them."""
    versions = manager.describe_secret(SecretId="app/db")["VersionIdsToStages"]
    return {
        manager.get_secret_value(SecretId="app/db", VersionId=version)["SecretString"]: labels
        for version, labels in versions.items()
        if labels
    }


def test_the_new_version_is_current_and_the_one_before_previous(manager, plain, make_parcel):
    plain.deliver(make_parcel(1))
    plain.deliver(make_parcel(2))

    assert stages(manager) == {
        VALUE.format(1): ["AWSPREVIOUS"],
        VALUE.format(2): ["AWSCURRENT"],
    }


def test_the_same_version_again_changes_nothing(manager, plain, make_parcel):
    plain.deliver(make_parcel(1))
    before = labels_by_id(manager)

    plain.deliver(make_parcel(1))

    assert labels_by_id(manager) == before


def labels_by_id(manager):
    """Each version with its labels; the dates are those of asking, as the emulation has it."""
    answer = manager.list_secret_version_ids(SecretId="app/db", IncludeDeprecated=True)
    return {version["VersionId"]: version["VersionStages"] for version in answer["Versions"]}


def test_an_older_version_is_kept_out(manager, plain, make_parcel):
    plain.deliver(make_parcel(5))

    with pytest.raises(DeliveryError, match="Version 5 is there already"):
        plain.deliver(make_parcel(4))

    assert manager.get_secret_value(SecretId="app/db")["SecretString"] == VALUE.format(5)


def test_a_version_whose_label_somebody_took_away_is_current_again(manager, plain, make_parcel):
    plain.deliver(make_parcel(1))
    manager.put_secret_value(SecretId="app/db", SecretString="by hand")

    plain.deliver(make_parcel(1))

    assert stages(manager) == {VALUE.format(1): ["AWSCURRENT"], "by hand": ["AWSPREVIOUS"]}


def test_another_value_under_a_number_that_is_used_up_is_a_failure_and_not_lost(
    manager, plain, make_parcel
):
    """As after a restored backup of the console counts the same numbers again."""
    plain.deliver(make_parcel(1))

    with pytest.raises(DeliveryError, match="ResourceExistsException"):
        plain.deliver(make_parcel(1, value="another"))


def test_keys_of_a_json_are_replaced_and_others_stay(manager, url, make_parcel):
    destination(
        "aws_secrets_manager",
        region=REGION,
        secretId="app/db",
        endpointUrl=url,
        valueKey="password",
        usernameKey="username",
        **KEYS,
    ).deliver(make_parcel(2))

    assert json.loads(manager.get_secret_value(SecretId="app/db")["SecretString"]) == {
        "host": "db.internal",
        "username": "app_2",
        "password": VALUE.format(2),
    }


def test_keys_of_a_json_again_are_the_same_version(manager, url, make_parcel):
    keys = {"valueKey": "password", "usernameKey": "username"}
    json_secret = destination(
        "aws_secrets_manager", region=REGION, secretId="app/db", endpointUrl=url, **keys, **KEYS
    )
    json_secret.deliver(make_parcel(2))
    manager.put_secret_value(SecretId="app/db", SecretString='{"host": "another"}')
    json_secret.deliver(make_parcel(2))

    assert [json.loads(text)["host"] for text in stages(manager)] == ["db.internal", "another"]


def test_a_value_that_is_no_json_is_not_replaced_by_one(manager, url, make_parcel):
    manager.put_secret_value(SecretId="app/db", SecretString="[plain")

    with pytest.raises(DeliveryError, match="no JSON object") as refusal:
        destination(
            "aws_secrets_manager",
            region=REGION,
            secretId="app/db",
            endpointUrl=url,
            valueKey="password",
            **KEYS,
        ).deliver(make_parcel(2))

    assert (refusal.value.__cause__, refusal.value.__context__) == (None, None)


def test_a_missing_secret_is_a_reason(url, make_parcel):
    missing = destination(
        "aws_secrets_manager", region=REGION, secretId="missing", endpointUrl=url, **KEYS
    )

    with pytest.raises(DeliveryError, match="ResourceNotFoundException"):
        missing.deliver(make_parcel(1))


def test_without_credentials_anywhere_the_reason_says_so(
    url, manager, make_parcel, monkeypatch, tmp_path
):
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    ambient = destination("aws_secrets_manager", region=REGION, secretId="app/db", endpointUrl=url)

    with pytest.raises(DeliveryError, match="NoCredentialsError"):
        ambient.deliver(make_parcel(1))


def test_an_endpoint_in_a_private_network_needs_leave(plain, make_parcel, settings):
    settings.OUTGOING_ALLOWED_NETWORKS = []

    with pytest.raises(DeliveryError, match="OUTGOING_ALLOWED_NETWORKS"):
        plain.deliver(make_parcel(1))


def test_an_answer_that_echoes_the_value_does_not_carry_it_into_the_reason(make_parcel):
    def echo(method, path, headers, body):
        answer = json.dumps({"__type": "InvalidRequestException", "Message": VALUE.format(1)})
        return 400, {"Content-Type": "application/x-amz-json-1.1"}, answer.encode()

    with serving(echo) as url, pytest.raises(DeliveryError) as refusal:
        destination(
            "aws_secrets_manager", region=REGION, secretId="app/db", endpointUrl=url, **KEYS
        ).deliver(make_parcel(1))

    assert refusal.value.reason == "AWS Secrets Manager answered InvalidRequestException."


def test_settings_that_cannot_work_are_named():
    given = {"accessKeyId": "A", "secretAccessKey": None, "endpointUrl": "file:///etc"}
    given |= {"valueKey": "", "usernameKey": "u"}

    assert AwsSecretsManager.problems(given).keys() == {
        "secretAccessKey",
        "endpointUrl",
        "usernameKey",
    }

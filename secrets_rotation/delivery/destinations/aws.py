"""A secret in AWS Secrets Manager.

Each version has a token of its own, which AWS takes as the id of the version: the same twice is
one, and a newer one is known by its id. AWS itself moves AWSPREVIOUS.
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from secrets_rotation.declared import Setting
from secrets_rotation.delivery.destinations.base import Destination, Parcel, refuse_older
from secrets_rotation.delivery.destinations.calls import Calls, as_urllib3, url_problem
from secrets_rotation.exceptions import DeliveryError

if TYPE_CHECKING:
    from botocore.awsrequest import (  # type: ignore[import-untyped]
        AWSPreparedRequest,
        AWSResponse,
    )

# At DEBUG it would log what is sent, the value with it.
logging.getLogger("botocore").setLevel(logging.INFO)

NAMESPACE = uuid.UUID("5d0c4e2c-3c0a-5b7e-9d3f-0f6a2f1f7f10")
CURRENT = "AWSCURRENT"
# How many later versions are recognised.
AHEAD = 1_000


class AwsSecretsManager(Destination):
    name = "aws_secrets_manager"
    title = "AWS Secrets Manager"
    summary = "Puts the version as AWSCURRENT into a secret that exists there."
    settings = (
        Setting("region", "Such as eu-central-1.", required=True),
        Setting("secretId", "Name or ARN of the secret.", required=True),
        Setting("valueKey", "Its key in the secret's JSON; without it the value is all.", str, ""),
        Setting("usernameKey", "The username's key in that JSON, if any.", str, ""),
        Setting("accessKeyId", "Without it, what the console's environment has.", str, ""),
        Setting("secretAccessKey", "The key that goes with it.", str, secret=True),
        Setting("endpointUrl", "Where, if not at AWS itself.", str, ""),
    )
    address = ("endpointUrl", "region", "accessKeyId")

    @classmethod
    def problems(cls, given: Mapping[str, Any]) -> dict[str, str]:
        found = {"endpointUrl": given["endpointUrl"] and url_problem(given["endpointUrl"])}
        if bool(given["accessKeyId"]) != bool(given["secretAccessKey"]):
            found["secretAccessKey"] = "Give accessKeyId and secretAccessKey, or neither."
        if given["usernameKey"] and not given["valueKey"]:
            found["usernameKey"] = "Only a JSON has keys: give valueKey too."
        return {name: problem for name, problem in found.items() if problem}

    def deliver(self, parcel: Parcel) -> None:
        # Here and not above: loading it takes a process half a second.
        from botocore.exceptions import (  # type: ignore[import-untyped]
            BotoCoreError,
            ClientError,
        )

        try:
            self._put(self._client(), parcel)
        except ClientError as exc:
            # Its message may hold what was sent.
            code = exc.response.get("Error", {}).get("Code", "an error")
            raise DeliveryError(f"AWS Secrets Manager answered {code}.") from None
        except BotoCoreError as exc:
            raise DeliveryError(f"The AWS client failed: {type(exc).__name__}.") from None

    def _put(self, client: Any, parcel: Parcel) -> None:
        secret_id, token = self.given["secretId"], version_token(parcel, parcel.number)
        stages = client.describe_secret(SecretId=secret_id).get("VersionIdsToStages", {})
        current = next((version for version, labels in stages.items() if CURRENT in labels), "")
        refuse_older(parcel, _later(parcel, current))
        put = client.put_secret_value(
            SecretId=secret_id,
            ClientRequestToken=token,
            SecretString=self._content(client, parcel, token if token in stages else current),
            VersionStages=[CURRENT],
        )
        # A token that AWS knows is done, and its label left where it is; with another content
        # it is refused.
        if CURRENT not in put["VersionStages"]:
            client.update_secret_version_stage(
                SecretId=secret_id,
                VersionStage=CURRENT,
                MoveToVersionId=token,
                RemoveFromVersionId=current,
            )

    def _content(self, client: Any, parcel: Parcel, there: str) -> str:
        """Return the value, or the JSON of the version that is there with ours put in."""
        value_key, username_key = self.given["valueKey"], self.given["usernameKey"]
        if not value_key:
            return parcel.value.reveal()
        fields = self._fields(client, there) if there else {}
        if username_key:
            fields[username_key] = parcel.username
        return json.dumps(fields | {value_key: parcel.value.reveal()})

    def _fields(self, client: Any, version_id: str) -> dict[str, object]:
        there = client.get_secret_value(SecretId=self.given["secretId"], VersionId=version_id)
        try:
            fields = json.loads(there.get("SecretString", ""))
        except ValueError:
            fields = None
        if not isinstance(fields, dict):
            raise DeliveryError("What the secret holds at AWS is no JSON object.")
        return fields

    def _client(self) -> Any:
        import boto3  # type: ignore[import-untyped]
        from botocore.config import Config  # type: ignore[import-untyped]

        key = self.given["secretAccessKey"]
        client = boto3.session.Session(
            aws_access_key_id=self.given["accessKeyId"] or None,
            aws_secret_access_key=key.reveal() if key else None,
            region_name=self.given["region"],
        ).client(
            "secretsmanager",
            endpoint_url=self.given["endpointUrl"] or None,
            # The outbox tries again.
            config=Config(retries={"total_max_attempts": 1}),
        )
        client.meta.events.register("before-send.secrets-manager", partial(_sent, Calls()))
        return client


def version_token(parcel: Parcel, number: int) -> str:
    """Return AWS's id of a version of the parcel's secret: 36 signs, the same each time."""
    return str(uuid.uuid5(NAMESPACE, f"{parcel.secret} version {number}"))


def _later(parcel: Parcel, version_id: str) -> int | None:
    """Return the number of a version that is newer than the parcel's, None for any other."""
    numbers = range(parcel.number + 1, parcel.number + AHEAD)
    return next((each for each in numbers if version_token(parcel, each) == version_id), None)


def _sent(calls: Calls, request: AWSPreparedRequest, **kwargs: object) -> AWSResponse:
    from botocore.awsrequest import AWSResponse

    answer = calls.send(request.method, request.url, request.headers, request.body)
    return AWSResponse(request.url, answer.status, dict(answer.headers), as_urllib3(answer))

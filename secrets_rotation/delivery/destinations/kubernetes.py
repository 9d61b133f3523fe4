"""Keys of one Secret in Kubernetes.

A merge patch that names the resourceVersion it was made for: what somebody else changes in
between makes it fail. Other keys, labels and annotations stay.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from secrets_rotation.declared import Setting
from secrets_rotation.delivery.destinations.base import (
    Destination,
    Parcel,
    marked_version,
    refuse_older,
    version_mark,
)
from secrets_rotation.delivery.destinations.calls import Calls, as_urllib3, url_problem
from secrets_rotation.exceptions import DeliveryError

if TYPE_CHECKING:
    from kubernetes.client import CoreV1Api, V1Secret
    from kubernetes.client.rest import RESTResponse

# Which version of which secret each key holds, as JSON.
ANNOTATION = "compliance-console/versions"
MERGE = "application/merge-patch+json"


class KubernetesSecret(Destination):
    name = "kubernetes_secret"
    title = "Kubernetes Secret"
    summary = "Sets keys of one Secret and leaves its other keys alone."
    settings = (
        Setting("namespace", "The namespace.", required=True),
        Setting("secretName", "The Secret; made when it is missing.", required=True),
        Setting("valueKey", "The key of the value.", required=True),
        Setting("usernameKey", "The key of the username, if any.", str, ""),
        Setting("previousKey", "The key for the value before while it works, if any.", str, ""),
        Setting("url", "The API server; without it the cluster that the console is in.", str, ""),
        Setting("token", "A service account's token for that server.", str, secret=True),
        Setting(
            "caCertificate", "PEM of the cluster's certificate authority.", str, "", has_lines=True
        ),
    )
    address = ("url", "caCertificate")

    @classmethod
    def problems(cls, given: Mapping[str, Any]) -> dict[str, str]:
        found = {"url": given["url"] and url_problem(given["url"])}
        if bool(given["url"]) != bool(given["token"]):
            found["token"] = "Give url and token, or neither inside the cluster."  # noqa: S105
        keys = [given[name] for name in ("valueKey", "usernameKey", "previousKey") if given[name]]
        if len(set(keys)) < len(keys):
            found["valueKey"] = "Each key must be another one."
        return {name: problem for name, problem in found.items() if problem}

    @property
    def keeps_earlier(self) -> bool:
        return bool(self.given["previousKey"])

    def deliver(self, parcel: Parcel) -> None:
        # Here and not above: loading it takes a process half a second.
        from kubernetes.client.exceptions import ApiException, OpenApiException
        from urllib3.exceptions import HTTPError

        try:
            self._apply(self._api(), parcel)
        except ApiException as exc:
            # Its body may hold what was sent.
            raise DeliveryError(f"The API server answered {exc.status}.") from None
        except (OpenApiException, HTTPError, ValueError) as exc:
            raise DeliveryError(f"The Kubernetes client failed: {type(exc).__name__}.") from None

    def _apply(self, api: CoreV1Api, parcel: Parcel) -> None:
        name, namespace = self.given["secretName"], self.given["namespace"]
        found = self._found(api)
        metadata = found.metadata if found else None
        body = self._body(parcel, (metadata and metadata.annotations) or {})
        if found is None:
            body["metadata"]["name"] = name
            body["data"] = {key: text for key, text in body["data"].items() if text is not None}
            api.create_namespaced_secret(namespace, body)  # type: ignore[arg-type]  # a dict will do
        elif not _holds(found, body):
            assert metadata is not None
            body["metadata"]["resourceVersion"] = metadata.resource_version
            api.patch_namespaced_secret(name, namespace, body, _content_type=MERGE)

    def _found(self, api: CoreV1Api) -> V1Secret | None:
        from kubernetes.client.exceptions import NotFoundException

        try:
            return api.read_namespaced_secret(self.given["secretName"], self.given["namespace"])
        except NotFoundException:
            return None

    def _body(self, parcel: Parcel, annotations: Mapping[str, str]) -> dict[str, Any]:
        """Return what to set; raise `DeliveryError` when a newer version is there."""
        key = self.given["valueKey"]
        marks = _marks(annotations)
        refuse_older(parcel, marked_version(parcel, marks.get(key)))
        marks[key] = version_mark(parcel)
        texts: dict[str, str | None] = {key: parcel.value.reveal()}
        if username_key := self.given["usernameKey"]:
            texts[username_key] = parcel.username
        if previous_key := self.given["previousKey"]:
            # None takes the key away.
            texts[previous_key] = parcel.earlier.value.reveal() if parcel.earlier else None
        return {
            "metadata": {"annotations": {ANNOTATION: json.dumps(marks, sort_keys=True)}},
            "data": {name: _encoded(text) for name, text in texts.items()},
        }

    def _api(self) -> CoreV1Api:
        from kubernetes.client import ApiClient, Configuration, CoreV1Api

        configuration = Configuration()
        ca = self.given["caCertificate"]
        if self.given["url"]:
            configuration.host = self.given["url"].rstrip("/")
            configuration.api_key = {"authorization": self.given["token"].reveal()}
            configuration.api_key_prefix = {"authorization": "Bearer"}
        else:
            ca = _load_own_cluster(configuration)
        client = ApiClient(configuration)
        client.rest_client = Outgoing(Calls(ca))  # type: ignore[assignment]
        return CoreV1Api(client)


class Outgoing:
    """Sends what the client prepared through the one way out."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def request(
        self, method: str, url: str, headers: Mapping[str, str], body: Any = None, **kwargs: object
    ) -> RESTResponse:
        from kubernetes.client.rest import RESTResponse

        content = None if body is None else json.dumps(body)
        return RESTResponse(as_urllib3(self._calls.send(method, url, headers, content)))


def _load_own_cluster(configuration: Any) -> str:
    """Take address and token of the pod's own cluster; return its authority's PEM."""
    from kubernetes.config import ConfigException, load_incluster_config

    try:
        load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        return Path(configuration.ssl_ca_cert).read_text("ascii")
    except (ConfigException, OSError):
        raise DeliveryError("The console is not in a cluster: give url and token.") from None


def _marks(annotations: Mapping[str, str]) -> dict[str, Any]:
    try:
        marks = json.loads(annotations.get(ANNOTATION, "{}"))
    except ValueError:
        marks = None
    if not isinstance(marks, dict):
        raise DeliveryError(f"The annotation {ANNOTATION} is not readable; remove it.")
    return marks


def _holds(found: V1Secret, body: Mapping[str, Any]) -> bool:
    there = found.data or {}
    annotations = (found.metadata and found.metadata.annotations) or {}
    return annotations.get(ANNOTATION) == body["metadata"]["annotations"][ANNOTATION] and all(
        there.get(key) == value for key, value in body["data"].items()
    )


def _encoded(text: str | None) -> str | None:
    return None if text is None else base64.b64encode(text.encode()).decode()

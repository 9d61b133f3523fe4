"""A secret in the KV store, version 2, of Vault or OpenBao.

Read, changed and written back under check-and-set: what somebody else writes in between makes
the write fail, and nothing is overwritten. Other keys of the secret stay.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from secrets_rotation.declared import Setting
from secrets_rotation.delivery.destinations.base import (
    Destination,
    Parcel,
    marked_version,
    refuse_older,
    version_mark,
)
from secrets_rotation.delivery.destinations.calls import Calls, url_problem
from secrets_rotation.exceptions import DeliveryError

if TYPE_CHECKING:
    import hvac  # type: ignore[import-untyped]

NO_ANSWER = "What answers there is no KV store of version 2."

NOTHING = {"data": {"data": None, "metadata": {"version": 0}}}


@dataclass(frozen=True)
class Found:
    """What the path holds; `version` is the store's own number, 0 when there was never any."""

    fields: dict[str, Any]
    version: int


class VaultKv2(Destination):
    name = "vault_kv2"
    title = "Vault or OpenBao, KV version 2"
    summary = "Writes value and username into keys of a secret, without overwriting newer ones."
    settings = (
        Setting("url", "Where it is, such as https://vault.example:8200.", required=True),
        Setting("mount", "Where the KV store is mounted.", str, "secret"),
        Setting("path", "The secret's path in it.", required=True),
        Setting("valueKey", "The key of the value.", str, "value"),
        Setting("usernameKey", "The key of the username, if any.", str, ""),
        Setting("namespace", "The namespace, if any.", str, ""),
        Setting("token", "A token, or else roleId and roleSecretId.", str, secret=True),
        Setting("roleId", "The role of an AppRole.", str, ""),
        Setting("roleSecretId", "The secret id of that role.", str, secret=True),
        Setting("roleMount", "Where AppRole is mounted.", str, "approle"),
        Setting(
            "caCertificate",
            "PEM of the authority to trust instead of the usual.",
            str,
            "",
            has_lines=True,
        ),
    )
    address = ("url", "roleMount", "namespace", "caCertificate")

    @classmethod
    def problems(cls, given: Mapping[str, Any]) -> dict[str, str]:
        found = {"url": url_problem(given["url"])}
        by_role = bool(given["roleId"]) and bool(given["roleSecretId"])
        if by_role == bool(given["token"]):
            found["token"] = "Give a token, or roleId and roleSecretId, and not both."  # noqa: S105
        if given["usernameKey"] == given["valueKey"]:
            found["usernameKey"] = "This is the key of the value."
        return {name: problem for name, problem in found.items() if problem}

    def deliver(self, parcel: Parcel) -> None:
        from hvac.exceptions import VaultError  # type: ignore[import-untyped]
        from requests import RequestException

        try:
            client = self._client()
            found = self._found(client)
            fields = self._fields(parcel, found)
            if fields != found.fields:
                self._store(client).create_or_update_secret(
                    self.given["path"], fields, cas=found.version, mount_point=self.given["mount"]
                )
        except VaultError as exc:
            # Its message may hold what was sent.
            raise DeliveryError(f"The store refused: {type(exc).__name__}.") from None
        except RequestException as exc:
            raise DeliveryError(f"The call could not be made: {type(exc).__name__}.") from None

    def _fields(self, parcel: Parcel, found: Found) -> dict[str, Any]:
        """Return what the path shall hold; raise `DeliveryError` when it has a newer version."""
        value_key, username_key = self.given["valueKey"], self.given["usernameKey"]
        mark_key = f"{value_key}_version"
        refuse_older(parcel, marked_version(parcel, found.fields.get(mark_key)))
        named = {username_key: parcel.username} if username_key else {}
        ours = {value_key: parcel.value.reveal(), mark_key: version_mark(parcel)}
        return found.fields | named | ours

    def _found(self, client: hvac.Client) -> Found:
        from hvac.exceptions import InvalidPath

        try:
            answer = self._store(client).read_secret_version(
                self.given["path"],
                mount_point=self.given["mount"],
                raise_on_deleted_version=False,
            )
        except InvalidPath as exc:
            # Destroyed versions are told of in the error.
            answer = exc.json if isinstance(exc.json, dict) and exc.json.get("data") else NOTHING
        match answer:
            case {"data": {"data": fields, "metadata": {"version": int(version)}}}:
                return Found(fields or {}, version)
        raise DeliveryError(NO_ANSWER)

    @staticmethod
    def _store(client: hvac.Client) -> Any:
        return client.secrets.kv.v2

    def _client(self) -> hvac.Client:
        # Here and not above: only who delivers there has to load it.
        import hvac

        from secrets_rotation.delivery.destinations.vault_session import session

        token = self.given["token"]
        client = hvac.Client(
            url=self.given["url"],
            # "" rather than None: hvac would look for one in the environment and in a file.
            token=token.reveal() if token else "",
            namespace=self.given["namespace"] or None,
            session=session(Calls(self.given["caCertificate"])),
            allow_redirects=False,
        )
        if not token:
            answer = client.auth.approle.login(
                self.given["roleId"],
                self.given["roleSecretId"].reveal(),
                mount_point=self.given["roleMount"],
            )
            client.token = _token(answer)
        return client


def _token(answer: object) -> str:
    match answer:
        case {"auth": {"client_token": str(token)}}:
            return token
    raise DeliveryError("What answers there is no Vault.")
